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

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/verify"
)

// House is all that is needed to make images.
type House struct {
	Machines *machines.House // its host, plugins, cache and observer
	Version  string          // of this program
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
	// Push are the tags under which registries get its OCI layout, and Registry
	// says how they are reached.
	Push     []name.Tag
	Registry registry.Options
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
	// Cache is what the cache of trees had to do with it; nil where none is used.
	Cache    *stages.CacheUse `json:"cache,omitempty"`
	Verify   *verify.Report   `json:"verify,omitempty"`
	Packages int              `json:"packages"`
	// Kept is the directory with what was made of an image that failed, where
	// that was asked for: the tree is root in it, what was written is in out. The
	// next image of that name and place takes it away.
	Kept string `json:"kept,omitempty"`
	// Pushed says by which digests registries have it.
	Pushed []string `json:"pushed,omitempty"`
	Error  *Fault   `json:"error,omitempty"`
}

// StageTime is how long a stage took.
type StageTime struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Fault is why there is no image.
type Fault struct {
	Code    int    `json:"code"` // the exit status
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// VerifyError says that an image did not pass.
type VerifyError struct {
	Report *verify.Report
	Kept   string // where the image is all the same; empty when it is gone
}

func (e *VerifyError) Error() string {
	return "the image does not pass: " + e.Report.Faults()
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
		return res, errors.Join(b.full(err), b.place.remove(context.WithoutCancel(ctx)))
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
	if cached, ok := b.origin.(*stages.Cached); ok {
		use := cached.Use()
		res.Cache = &use
	}
	res.Verify = b.report
	if err == nil {
		err = b.full(b.place.publish())
	}
	if err != nil && w.Keep {
		return res, b.keep(&res, err)
	}
	err = errors.Join(err, b.place.remove(context.WithoutCancel(ctx)))
	if err != nil {
		return res, err
	}
	b.finish(&res)
	return res, nil
}

// keep leaves what was made for somebody to look at.
func (b *build) keep(res *Result, err error) error {
	res.Kept, res.Log = b.place.hidden, stages.CustomizeLog(b.place.logs(), b.Spec.Name)
	var unfit *VerifyError
	if errors.As(err, &unfit) {
		unfit.Kept = b.place.out()
	}
	return errors.Join(err, b.place.lock.Close())
}

// tell passes on what happens.
func (h *House) tell(stage string, kind pipeline.Kind, text string) {
	h.Machines.Tell(pipeline.Event{Stage: stage, Kind: kind, Text: text})
}
