package matrix

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
)

// MergeError says why results cannot be joined.
type MergeError struct{ Problem, Advice string }

func (e *MergeError) Error() string { return e.Problem }

// Hint says what to do.
func (e *MergeError) Hint() string { return e.Advice }

// found is a result with the directory that it is from.
type found struct {
	kept
	dir string
}

// same reports whether two results say the same of a job. Times and hosts may
// differ, what was built may not.
func (f found) same(g found) bool {
	digest := func(r Result) string {
		if r.Image == nil {
			return ""
		}
		return r.Image.Digest
	}
	return f.Status == g.Status && f.Inputs == g.Inputs && digest(f.Result) == digest(g.Result)
}

// Merge joins the results of several runs of one matrix file into one report in
// the directory out, with their logs; images stay where they are. What no run
// has is in it as missing. warn is told of a run that has left no result at all,
// for that is how a runner that was killed leaves its directory.
func Merge(dirs []string, out string, warn func(problem string)) (*Report, error) {
	var all []found
	for _, dir := range dirs {
		own, err := readResults(dir)
		if err != nil {
			return nil, err
		}
		if len(own) == 0 {
			warn(dir + " holds no result: its runner has ended before any was done")
		}
		all = append(all, own...)
	}
	if len(all) == 0 {
		return nil, &MergeError{"there are no results to join", "name directories that nspawn-build matrix -o wrote"}
	}
	file := all[0].File
	best := map[string]found{}
	for _, f := range all {
		if f.File.Digest != file.Digest {
			return nil, &MergeError{
				fmt.Sprintf("%s is of another matrix file than %s", filepath.Join(f.dir, jobPath(f.Name)), filepath.Join(all[0].dir, jobPath(all[0].Name))),
				"run all jobs of one version of the file, and join those",
			}
		}
		other, twice := best[f.Name]
		switch {
		case !twice, other.Needed && !f.Needed:
			best[f.Name] = f
		case f.Needed && !other.Needed, f.same(other):
		default:
			return nil, &MergeError{
				fmt.Sprintf("%s has two results that differ: in %s and in %s", f.Name, other.dir, f.dir),
				"leave out the directory that is not to count",
			}
		}
	}
	return joined(file, best, out)
}

func joined(file File, best map[string]found, out string) (*Report, error) {
	d, err := openDirectory(out)
	if err != nil {
		return nil, err
	}
	defer d.close()
	r := &Report{Version: reportVersion, File: file, Jobs: []Result{}}
	for _, name := range file.Jobs {
		f, ok := best[name]
		if !ok {
			r.Jobs = append(r.Jobs, Result{Job: Job{Name: name}, Status: Missing, Reason: "no runner has a result of it"})
			continue
		}
		r.span(f)
		if err := d.take(&f); err != nil {
			return nil, err
		}
		if err := d.keep(&Report{Program: f.Program, Host: f.Host, File: file}, f.Result); err != nil {
			return nil, err
		}
		r.Jobs = append(r.Jobs, f.Result)
	}
	return r, writeJSON(filepath.Join(out, fileResults), r)
}

// span widens the time of a report by that of a result.
func (r *Report) span(f found) {
	if r.Program == "" {
		r.Program = f.Program
	}
	if f.Started.IsZero() {
		return
	}
	begin, end := f.Started, f.Started.Add(duration(f.Seconds))
	if r.Started.IsZero() {
		r.Started, r.Seconds = begin, seconds(end.Sub(begin))
		return
	}
	if was := r.Started.Add(duration(r.Seconds)); was.After(end) {
		end = was
	}
	if r.Started.Before(begin) {
		begin = r.Started
	}
	r.Started, r.Seconds = begin, seconds(end.Sub(begin))
}

// take copies the log of a job, and has its images be found where they are.
func (d *directory) take(f *found) error {
	if img := f.Image; img != nil {
		own := *img
		own.Artifacts = slices.Clone(img.Artifacts)
		move := func(path string) string { return f.moved(path, d.path) }
		for _, p := range []*string{&own.Manifest, &own.SBOM, &own.Sums, &own.Lock, &own.Log} {
			*p = move(*p)
		}
		for i := range own.Artifacts {
			own.Artifacts[i].Path = move(own.Artifacts[i].Path)
		}
		f.Image = &own
	}
	if f.Log == "" {
		return nil
	}
	if !filepath.IsLocal(filepath.FromSlash(f.Log)) {
		f.Log = ""
		return nil
	}
	from := filepath.Join(f.dir, filepath.FromSlash(f.Log))
	f.Log = filepath.ToSlash(jobPath(f.Name, fileLog))
	to := filepath.Join(d.path, f.Log)
	if err := d.prepare(f.Name); err != nil {
		return err
	}
	data, err := readLog(from)
	if errors.Is(err, fs.ErrNotExist) {
		f.Log = ""
		return nil
	}
	if err != nil {
		return err
	}
	if here, err := os.Stat(to); err == nil {
		if there, err := os.Stat(from); err == nil && os.SameFile(here, there) {
			return nil // it is joined in place
		}
	}
	return atomicfile.Write(to, data, 0o644)
}

// moved is a path of a results directory as seen from another one.
func (f *found) moved(path, to string) string {
	if path == "" || !filepath.IsLocal(filepath.FromSlash(path)) {
		return ""
	}
	rel, err := filepath.Rel(to, filepath.Join(f.dir, filepath.FromSlash(path)))
	if err != nil {
		return ""
	}
	return filepath.ToSlash(rel)
}

// LogLimit is the most that is kept of what a job prints, in bytes.
const LogLimit = 64 << 20

func readLog(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no log", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, LogLimit+1<<20))
}

// readResults reads the results of all jobs in a results directory. One that is
// of this program may have none.
func readResults(dir string) ([]found, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), dirJobs, "*", fileResult))
	if err != nil || len(paths) == 0 && !isResults(dir) {
		return nil, &MergeError{dir + " holds no results of a matrix", "name a directory that nspawn-build matrix -o wrote"}
	}
	var all []found
	for _, path := range paths {
		k, err := readKept(path)
		if err != nil {
			return nil, &MergeError{err.Error(), "was it written by this version of nspawn-build? run the job again"}
		}
		if name := filepath.Base(filepath.Dir(path)); k.Name != name || strings.ContainsAny(name, "/\x00") || !slices.Contains(k.File.Jobs, name) {
			return nil, &MergeError{fmt.Sprintf("%s is not the result of %s", path, name), "run the job again"}
		}
		all = append(all, found{k, dir})
	}
	return all, nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
