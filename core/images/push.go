package images

import (
	"context"
	"strconv"
	"time"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// push uploads the OCI layout under each of the tags.
func (b *build) push(ctx context.Context) error {
	for _, a := range b.artifacts {
		if a.Format != image.OCI {
			continue
		}
		for _, to := range b.Push {
			b.tell("push", pipeline.Progress, to.String())
			digest, err := image.Push(ctx, a.Path, to, b.Registry)
			if err != nil {
				return err
			}
			b.pushed = append(b.pushed, digest)
		}
	}
	return nil
}

// check refuses what cannot be, whatever there is on this host.
func (w Wanted) check(now time.Time) error {
	var bad spec.Invalid
	hasLayout := false
	for _, f := range w.Image.Formats {
		hasLayout = hasLayout || image.Format(f) == image.OCI
	}
	if len(w.Push) > 0 && !hasLayout {
		bad = append(bad, &spec.FieldError{Field: "push", Value: w.Push[0].String(), Problem: "takes an OCI image", Hint: "add --format oci"})
	}
	if epoch := w.Image.SourceDateEpoch; epoch > now.Unix() {
		bad = append(bad, &spec.FieldError{
			Field: "image.source-date-epoch", Value: strconv.FormatInt(epoch, 10), Problem: "is in the future, and what is made before then would not be alike",
			Hint: "use a time that is past, such as that of the last commit: git log -1 --format=%ct",
		})
	}
	if bad != nil {
		return bad
	}
	return nil
}
