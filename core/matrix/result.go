package matrix

import (
	"slices"
	"time"
)

// Status is what became of a job.
type Status string

// What can become of a job.
const (
	Done    Status = "done"
	Failed  Status = "failed"
	Skipped Status = "skipped" // it was not begun
	Stopped Status = "stopped" // it was ended amid its work
	Missing Status = "missing" // of a merged report: no runner has a result
)

// Result is what came of a job. Its paths begin at the results directory.
type Result struct {
	Job
	Status Status `json:"status"`
	// Reason is why it is not done, in a line; Hint is what to do.
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
	Exit   int    `json:"exit"`
	// Inputs is the digest of what it was built of.
	Inputs  string    `json:"inputs,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Seconds float64   `json:"seconds"`
	// Resumed says that an earlier run has done it, and nothing has changed.
	Resumed bool `json:"resumed,omitempty"`
	// Needed says that it was built only for another job.
	Needed bool   `json:"needed,omitempty"`
	Log    string `json:"log,omitempty"`
	// Tail is the end of the log of a job that failed.
	Tail  []string `json:"tail,omitempty"`
	Image *Image   `json:"image,omitempty"`
}

// Report is what came of a matrix.
type Report struct {
	Version     int       `json:"version"`
	Program     string    `json:"program"`
	Host        string    `json:"host,omitempty"`
	File        File      `json:"file"`
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"`
	Interrupted bool      `json:"interrupted,omitempty"`
	Jobs        []Result  `json:"jobs"`
}

// kept is the form of a job's result on disk, which says by itself what it
// belongs to.
type kept struct {
	Version int    `json:"version"`
	Program string `json:"program"`
	Host    string `json:"host,omitempty"`
	File    File   `json:"file"`
	Result
}

// reportVersion is that of the form of results.
const reportVersion = 1

// Count is how many jobs have a status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, j := range r.Jobs {
		if j.Status == s {
			n++
		}
	}
	return n
}

// First is the first job, in the order of the file, that failed by itself; nil
// when none did.
func (r *Report) First() *Result {
	for i, j := range r.Jobs {
		if j.Status == Failed {
			return &r.Jobs[i]
		}
	}
	return nil
}

// Image is what `image --output json` prints. Its paths begin at the results
// directory once they are in a Result.
type Image struct {
	Name      string      `json:"name"`
	Distro    string      `json:"distro"`
	Release   string      `json:"release,omitempty"`
	Arch      string      `json:"arch,omitempty"`
	Digest    string      `json:"digest,omitempty"`
	Artifacts []Artifact  `json:"artifacts"`
	Manifest  string      `json:"manifest,omitempty"`
	SBOM      string      `json:"sbom,omitempty"`
	Sums      string      `json:"sums,omitempty"`
	Lock      string      `json:"lock,omitempty"`
	Log       string      `json:"log,omitempty"`
	Stages    []StageTime `json:"stages"`
	Cache     CacheUse    `json:"cache"`
	Verify    *Verify     `json:"verify,omitempty"`
	Packages  int         `json:"packages"`
	// Pushed says by which digests registries have it.
	Pushed []string `json:"pushed,omitempty"`
	Error  *Fault   `json:"error,omitempty"`
}

// Artifact is an image in one format.
type Artifact struct {
	Format string `json:"format"`
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
}

// StageTime is how long a stage took.
type StageTime struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// CacheUse is what the cache of trees had to do with it.
type CacheUse struct {
	Hit    bool   `json:"hit"`
	Key    string `json:"key,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Verify is what booting the image has shown.
type Verify struct {
	OK          bool    `json:"ok"`
	Checks      []Check `json:"checks"`
	BootSeconds float64 `json:"bootSeconds"`
}

// Check is one thing that was checked.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Skipped says that it was not tried, for what another one found missing.
	Skipped bool     `json:"skipped,omitempty"`
	Detail  string   `json:"detail,omitempty"`
	Seconds float64  `json:"seconds"`
	Output  []string `json:"output,omitempty"` // of a command that failed
	Journal []string `json:"journal,omitempty"`
}

// shown is what there is to read about it.
func (c Check) shown() []string { return slices.Concat(c.Output, c.Journal) }

// Fault is why there is no image.
type Fault struct {
	Code    int    `json:"code"` // the exit status
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}
