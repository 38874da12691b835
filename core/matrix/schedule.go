package matrix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Task is a job as a Runner is given it. Its paths are absolute.
type Task struct {
	Job  Job
	Base string // the image that it is built on; empty for none
	Out  string // the directory for the image, which exists
	Log  string // the file for what there is to read about it
}

// Outcome is what a Runner has of a task.
type Outcome struct {
	Exit  int // 0 when the image is built
	Image *Image
	// Problem and Hint are why it is not; Image.Error comes before them.
	Problem, Hint string
	// Ended says that it is not for ctx having ended, and for nothing else.
	Ended bool
}

// Runner builds an image. When ctx ends it ends what it runs, in an orderly
// way.
type Runner func(ctx context.Context, t Task) Outcome

// Options say how to go about it.
type Options struct {
	Directory string // for the results; absolute
	Jobs      int    // how many run at a time
	// FailFast ends the others when one fails.
	FailFast bool
	// Resume leaves alone what an earlier run has done, unless it would be
	// built of something else now.
	Resume  bool
	Needed  map[string]bool // jobs that are built only for others
	Program string          // its version
	// Surroundings are what beside the file says what images are like, and
	// InvokerKeys the keys of who runs this, for images that let them in.
	Surroundings string
	InvokerKeys  []string
	// Push are the tags in a registry that Run gives to images, by their names.
	Push map[string]string
	Run  Runner
	// Begun and Ended are told of jobs, one at a time.
	Begun func(Job)
	Ended func(Result)
}

var errFailFast = errors.New("another job failed")

// Run builds the images of m. That jobs fail is no error: the report says so,
// and it is on disk after each job. When ctx ends, jobs that run are ended and
// the others are not begun.
func Run(ctx context.Context, m *Matrix, o Options) (*Report, error) {
	dir, err := openDirectory(o.Directory)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	host, _ := os.Hostname()
	r := &run{
		Options: o, dir: dir, waiting: m.Order(), results: map[string]Result{}, ended: make(chan ended), parent: ctx,
		report: &Report{Version: reportVersion, Jobs: []Result{}, Program: o.Program, Host: host, File: m.File, Started: time.Now().UTC().Truncate(time.Millisecond)},
		order:  m.Jobs,
	}
	r.ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	return r.report, r.all()
}

// run is one run of a matrix. All but work is done by one goroutine.
type run struct {
	Options
	dir     *directory
	parent  context.Context
	ctx     context.Context
	stop    context.CancelCauseFunc
	order   []Job
	waiting []Job
	running int
	results map[string]Result
	ended   chan ended
	report  *Report
	failed  string // the job for which the others are ended
	errs    error  // what could not be written
}

func (r *run) all() error {
	for {
		r.begin()
		if r.running == 0 {
			break
		}
		r.end(<-r.ended)
	}
	r.report.Interrupted = r.parent.Err() != nil
	r.save()
	return r.errs
}

// begin begins what can be: nothing that waits for another job, and no more
// than so many.
func (r *run) begin() {
	for i := 0; i < len(r.waiting); {
		j := r.waiting[i]
		base, known := r.results[j.Base]
		switch {
		case r.ctx.Err() != nil:
			r.skip(i, r.why())
		case j.Base != "" && known && base.Status != Done:
			r.skip(i, "it is built on "+base.Name+", which is not done: "+string(base.Status))
			i = 0 // others may wait for this one
		case j.Base != "" && !known:
			i++
		case r.running >= max(1, r.Jobs):
			return
		default:
			r.waiting = slices.Delete(r.waiting, i, i+1)
			r.running++
			go func() {
				res, stopped := r.work(j, base)
				r.ended <- ended{res, stopped}
			}()
			if r.Begun != nil {
				r.Begun(j)
			}
		}
	}
}

// why is why nothing is begun any more.
func (r *run) why() string {
	if r.failed != "" {
		return r.failed + " failed, and --fail-fast was given"
	}
	return "interrupted"
}

func (r *run) skip(i int, reason string) {
	j := r.waiting[i]
	r.waiting = slices.Delete(r.waiting, i, i+1)
	r.finish(Result{Job: j, Status: Skipped, Reason: reason, Needed: r.Needed[j.Name]})
}

// ended is the result of a job that ran, and whether it was stopped.
type ended struct {
	Result
	stopped bool
}

// end takes the result of a job that ran. One that failed by itself has failed,
// though others are being stopped meanwhile.
func (r *run) end(e ended) {
	r.running--
	res := e.Result
	if e.stopped && r.ctx.Err() != nil && res.Status == Failed {
		res.Status = Stopped
		// What it says may be more than that it was told to stop.
		if own := res.Reason; own != "" && !strings.HasSuffix(own, "interrupted") {
			res.Reason = r.why() + "; it says: " + own
		} else {
			res.Reason = r.why()
		}
	}
	r.finish(res)
	if res.Status == Failed && r.FailFast && r.failed == "" {
		r.failed = res.Name
		r.stop(errFailFast)
	}
}

func (r *run) finish(res Result) {
	r.results[res.Name] = res
	if !res.Resumed && !(res.Status == Skipped && r.doneBefore(res.Name)) {
		r.note(r.dir.keep(r.report, res))
	}
	r.save()
	if r.Ended != nil {
		r.Ended(res)
	}
}

// doneBefore says that there is a result of an earlier run which a job that was
// not even begun leaves as it is, for --resume.
func (r *run) doneBefore(name string) bool {
	k, ok := earlier(r.dir.path, name)
	return ok && k.Status == Done
}

func (r *run) note(err error) {
	if err != nil && r.errs == nil { // a full disk is said once
		r.errs = err
	}
}

// save writes all that is known by now, in the order of the file.
func (r *run) save() {
	r.report.Jobs = r.report.Jobs[:0]
	for _, j := range r.order {
		if res, ok := r.results[j.Name]; ok {
			r.report.Jobs = append(r.report.Jobs, res)
		}
	}
	r.report.Seconds = seconds(time.Since(r.report.Started))
	r.note(writeJSON(filepath.Join(r.dir.path, fileResults), r.report))
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// work runs one job, or finds that it is done, and tells whether it was stopped.
func (r *run) work(j Job, base Result) (res Result, stopped bool) {
	res = Result{Job: j, Status: Failed, Exit: 1, Needed: r.Needed[j.Name], Started: time.Now().UTC().Truncate(time.Millisecond)}
	var baseDigest string
	if base.Image != nil {
		baseDigest = base.Image.Digest
	}
	var err error
	if res.Inputs, err = j.inputs(r.Program+"\n"+r.Surroundings, baseDigest, r.InvokerKeys); err != nil {
		res.Reason = err.Error()
		return res, false
	}
	if r.Resume {
		if k, ok := earlier(r.dir.path, j.Name); ok && r.isDone(k, res.Inputs) {
			k.Resumed, k.Job, k.Needed = true, j, res.Needed
			return k.Result, false
		}
	}
	if err := r.dir.prepare(j.Name, dirImage); err != nil {
		res.Reason = err.Error()
		return res, false
	}
	t := Task{Job: j, Out: filepath.Join(r.dir.path, jobPath(j.Name, dirImage)), Log: filepath.Join(r.dir.path, jobPath(j.Name, fileLog))}
	if j.Base != "" {
		if t.Base = r.basePath(base); t.Base == "" {
			res.Reason = "the result of " + j.Base + " names no image that it could be built on"
			return res, false
		}
	}
	out := r.Run(r.ctx, t)
	res.Seconds = seconds(time.Since(res.Started))
	res.Log = filepath.ToSlash(jobPath(j.Name, fileLog))
	res.Image, res.Exit, res.Reason, res.Hint = out.Image.inside(r.dir.path), out.Exit, out.Problem, out.Hint
	if res.Exit == 0 {
		return r.built(res), false
	}
	if res.Image != nil && res.Image.Error != nil {
		res.Reason, res.Hint = res.Image.Error.Message, res.Image.Error.Hint
	}
	if res.Reason == "" {
		res.Reason = fmt.Sprintf("it ended with exit status %d", res.Exit)
	}
	res.Tail = tail(t.Log)
	return res, out.Ended
}

// isDone tells whether the result of an earlier run is what would come of those
// inputs, and is still there.
func (r *run) isDone(k kept, inputs string) bool {
	if k.Status != Done || k.Inputs != inputs || !k.Image.whole(r.dir.path) {
		return false
	}
	return r.Push[k.Name] == "" || len(k.Image.Pushed) > 0
}

// built is the result of a job that says that it is done, if that is so.
func (r *run) built(res Result) Result {
	img := res.Image
	switch {
	case img == nil || len(img.Artifacts) == 0:
		res.Reason = "it says that it is done, and names no image"
	case slices.ContainsFunc(img.Artifacts, func(a Artifact) bool { return a.Path == "" }):
		res.Reason = "it has written its image to where it was not told to"
	case img.Verify != nil && !img.Verify.OK:
		res.Reason = "it says that it is done, and its image does not pass"
	default:
		res.Status = Done
		return res
	}
	res.Exit = 1
	return res
}

// basePath is the image of a base that another one is built on.
func (r *run) basePath(base Result) string {
	if base.Image == nil {
		return ""
	}
	for _, a := range base.Image.Artifacts {
		if a.Format == base.baseFormat() {
			return filepath.Join(r.dir.path, a.Path)
		}
	}
	return ""
}
