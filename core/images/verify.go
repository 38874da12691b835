package images

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/verify"
)

// verify boots the image in the first of its formats, and checks it.
func (b *build) verify(ctx context.Context) error {
	b.tell("verify", pipeline.Progress, "unpack")
	a := b.artifacts[0]
	target, err := Bootable(ctx, a.Path, a.Format, filepath.Join(b.place.hidden, "verify"))
	if err != nil {
		return err
	}
	target.Name, target.Checks, target.RuntimeDir = b.Spec.Name, b.Image.Checks, machines.RuntimeDir
	report, err := verify.Run(ctx, target, func(c verify.Check) {
		b.Machines.Tell(pipeline.Event{Stage: "verify", Kind: pipeline.Progress, Text: c.Name + ": " + c.Detail})
	})
	if err != nil {
		return err
	}
	b.report = &report
	if !report.OK {
		return &VerifyError{Report: &report}
	}
	return nil
}

// Bootable is what to boot of an image. What is not a file system is unpacked at
// root, where nothing must be, as whoever gets the image would do.
func Bootable(ctx context.Context, path string, f image.Format, root string) (verify.Target, error) {
	switch {
	case f == image.Directory:
		return verify.Target{Tree: path}, nil
	case !unpacked(f):
		return verify.Target{Image: path}, nil
	}
	return verify.Target{Tree: root}, image.Unpack(ctx, path, f, root)
}

// unpacked tells whether an image of a format is unpacked to be booted.
func unpacked(f image.Format) bool {
	return !slices.Contains([]image.Format{image.Directory, image.Squashfs, image.Erofs, image.Raw}, f)
}
