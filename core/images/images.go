// Package images makes images of distributions: trees as create would have them
// before they are anybody's, in the formats of core/image, with all that tells
// what is in them beside. It puts the plugin, the stages, the formats and the
// checks together, as core/machines does for machines.
//
// An image holds no secret that its spec does not ask for, no identity, and
// nothing of when and where it was made. Nothing is overwritten without being
// told so, everything grows in a hidden directory beside its place, and the
// package prints nothing.
package images

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

// House is all that is needed to make images.
type House struct {
	Machines *machines.House // its host, plugins, cache and observer
	Version  string          // of this program
	// Verify boots an image and checks it; nil where that cannot be done.
	Verify func(ctx context.Context, a image.Artifact, w Verification) (*Report, error)
	// CacheUse says what the cache of trees had to do with an origin; nil where
	// there is none.
	CacheUse func(stages.Origin) CacheUse
}

// Verification is what an image is checked for.
type Verification struct {
	Name   string
	Checks []string
	Facts  sdk.Facts
	Secret spec.Secret
}

// Wanted is an image that is asked for.
type Wanted struct {
	Spec  spec.Spec // its Directory means nothing
	Image spec.Image
	// Out is the file to write, or with Into the directory to write into.
	Out    string
	Into   bool
	Secret spec.Secret
	// Base is an image in place of a bootstrap; empty for none.
	Base string
	// Force replaces what is there of the same names.
	Force bool
	// Keep leaves what was made when something fails.
	Keep bool
}

// Result is what came of it.
type Result struct {
	Name    string `json:"name"`
	Distro  string `json:"distro"`
	Release string `json:"release,omitempty"`
	Arch    string `json:"arch,omitempty"`
	// Digest is the SHA-256 of the tree's canonical tar: the identity of what
	// was built, whatever the format.
	Digest    string           `json:"digest,omitempty"`
	Artifacts []image.Artifact `json:"artifacts"`
	Manifest  string           `json:"manifest,omitempty"`
	SBOM      string           `json:"sbom,omitempty"`
	Sums      string           `json:"sums,omitempty"`
	Lock      string           `json:"lock,omitempty"`
	Log       string           `json:"log,omitempty"`
	Stages    []StageTime      `json:"stages"`
	Cache     CacheUse         `json:"cache"`
	Verify    *Report          `json:"verify,omitempty"`
	Packages  int              `json:"packages"`
	Error     *Fault           `json:"error,omitempty"`
}

// StageTime is how long a stage took.
type StageTime struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// CacheUse is what the cache of trees had to do with an image.
type CacheUse struct {
	Hit    bool   `json:"hit"`
	Key    string `json:"key,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Fault is why there is no image.
type Fault struct {
	Code    int    `json:"code"` // the exit status
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Report is what verifying an image found.
type Report struct {
	OK          bool    `json:"ok"`
	Checks      []Check `json:"checks"`
	BootSeconds float64 `json:"bootSeconds"`
}

// Check is one thing that was checked.
type Check struct {
	Name    string   `json:"name"`
	OK      bool     `json:"ok"`
	Detail  string   `json:"detail,omitempty"`
	Seconds float64  `json:"seconds"`
	Journal []string `json:"journal,omitempty"`
}

// VerifyError says that an image did not pass.
type VerifyError struct{ Report *Report }

func (e *VerifyError) Error() string {
	for _, c := range e.Report.Checks {
		if !c.OK {
			return fmt.Sprintf("the image does not pass: %s: %s", c.Name, c.Detail)
		}
	}
	return "the image does not pass"
}

// Journal is that of the first check that failed.
func (e *VerifyError) Journal() []string {
	for _, c := range e.Report.Checks {
		if !c.OK {
			return c.Journal
		}
	}
	return nil
}

// ExistsError says that there is something where an image is to go.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string { return e.Path + " is there already" }

// Hint says what would do.
func (*ExistsError) Hint() string { return "replace it with --force, or choose another --out" }

// BusyError says that another run makes the same image in the same place.
type BusyError struct{ Name, Directory string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another nspawn-build makes %s in %s", e.Name, e.Directory)
}

// Build makes an image. Its error is in the Result's place only where cmd puts
// it; the Result holds what is known in either case.
func (h *House) Build(ctx context.Context, w Wanted) (res Result, err error) {
	res = Result{Name: w.Spec.Name, Distro: w.Spec.Distro, Release: w.Spec.Release, Arch: w.Spec.Arch, Artifacts: []image.Artifact{}, Stages: []StageTime{}}
	b, err := h.prepare(ctx, w)
	if err != nil {
		return res, err
	}
	res.Distro, res.Release, res.Arch = b.request.Distro, b.request.Release, b.request.Architecture
	if err := b.place.begin(ctx); err != nil {
		return res, errors.Join(err, b.place.remove(context.WithoutCancel(ctx)))
	}
	results, err := b.run(ctx)
	for _, r := range results {
		if r.Changed {
			res.Stages = append(res.Stages, StageTime{r.Stage, r.Duration.Seconds()})
		}
	}
	res.Log = b.place.log()
	var inTree *customize.Error
	if errors.As(err, &inTree) && !w.Keep {
		inTree.Log = res.Log // where it is about to be
	}
	if h.CacheUse != nil {
		res.Cache = h.CacheUse(b.origin)
	}
	res.Verify = b.report
	if err == nil {
		err = b.place.publish()
	}
	if keep := err != nil && w.Keep; !keep {
		err = errors.Join(err, b.place.remove(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return res, err
	}
	b.finish(&res)
	return res, nil
}

// tell passes on what happens.
func (h *House) tell(stage string, kind pipeline.Kind, text string) {
	h.Machines.Tell(pipeline.Event{Stage: stage, Kind: kind, Text: text})
}
