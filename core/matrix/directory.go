package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
)

// The names in a results directory.
const (
	fileResults = "results.json"
	fileLock    = "matrix.lock"
	dirJobs     = "jobs"
	fileResult  = "result.json" // of a job
	fileLog     = "log"
	dirImage    = "image"
)

// ErrForeign says that a directory holds what this program did not make.
var ErrForeign = errors.New("holds something else than results of a matrix")

// ErrBusy says that another run writes into a results directory.
var ErrBusy = errors.New("is in use by another nspawn-build matrix")

// directory is a results directory that is locked.
type directory struct {
	path string
	lock *flock.Flock
}

// openDirectory makes a results directory, or takes one that is there.
func openDirectory(path string) (*directory, error) {
	switch entries, err := os.ReadDir(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.Mkdir(path, 0o755); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case len(entries) > 0 && !isResults(path):
		return nil, fmt.Errorf("%s %w", path, ErrForeign)
	}
	d := &directory{path: path, lock: flock.New(filepath.Join(path, fileLock), flock.SetPermissions(0o644))}
	if info, err := os.Lstat(d.lock.Path()); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", path, ErrForeign)
	}
	locked, err := d.lock.TryLock()
	if err == nil && !locked {
		err = fmt.Errorf("%s %w", path, ErrBusy)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *directory) close() { _ = d.lock.Unlock() }

// isResults reports whether a directory looks as this program leaves it.
func isResults(path string) bool {
	for _, name := range []string{fileLock, fileResults} {
		if info, err := os.Lstat(filepath.Join(path, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	found, _ := filepath.Glob(filepath.Join(escapeGlob(path), dirJobs, "*", fileResult))
	return len(found) > 0
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// job is the directory of a job below a results directory.
func jobPath(name string, more ...string) string {
	return filepath.Join(slices.Concat([]string{dirJobs, name}, more)...)
}

// prepare makes a directory of a job, and takes none that is a link: what is
// written goes nowhere else.
func (d *directory) prepare(name string, more ...string) error {
	path := d.path
	for _, part := range slices.Concat([]string{dirJobs, name}, more) {
		path = filepath.Join(path, part)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if info, err := os.Lstat(path); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("%s is no directory, and so %s %w", path, d.path, ErrForeign)
		}
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), 0o644)
}

// keep writes the result of a job.
func (d *directory) keep(r *Report, res Result) error {
	if err := d.prepare(res.Name); err != nil {
		return err
	}
	return writeJSON(filepath.Join(d.path, jobPath(res.Name, fileResult)), kept{reportVersion, r.Program, r.Host, r.File, res})
}

// resultLimit is more than any result has.
const resultLimit = 16 << 20

// earlier reads the result of a job that an earlier run has kept. That there is
// none is no error.
func earlier(dir, name string) (kept, bool) {
	k, err := readKept(filepath.Join(dir, jobPath(name, fileResult)))
	return k, err == nil && k.Name == name
}

func readKept(path string) (kept, error) {
	var k kept
	info, err := os.Lstat(path)
	if err != nil {
		return k, err
	}
	if !info.Mode().IsRegular() || info.Size() > resultLimit {
		return k, fmt.Errorf("%s is no result", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(data, &k); err != nil {
		return k, fmt.Errorf("%s is no result: %w", path, err)
	}
	if k.Version != reportVersion {
		return k, fmt.Errorf("%s has the form of another version of nspawn-build: %d", path, k.Version)
	}
	return k, nil
}

// inside makes the paths of an image begin at the results directory. One that
// leads out of it is dropped: it is of no use to anybody who is handed the
// directory.
func (img *Image) inside(dir string) *Image {
	if img == nil {
		return nil
	}
	own := *img
	relative := func(path string) string {
		rel, err := filepath.Rel(dir, path)
		if path == "" || err != nil || !filepath.IsLocal(rel) {
			return ""
		}
		return filepath.ToSlash(rel)
	}
	for _, p := range []*string{&own.Manifest, &own.SBOM, &own.Sums, &own.Lock, &own.Log} {
		*p = relative(*p)
	}
	own.Artifacts = slices.Clone(img.Artifacts)
	for i := range own.Artifacts {
		own.Artifacts[i].Path = relative(own.Artifacts[i].Path)
	}
	return &own
}
