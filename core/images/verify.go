package images

import (
	"context"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/verify"
)

// verify boots the image in the first of its formats, and checks it.
func (b *build) verify(ctx context.Context) error {
	target, err := b.bootable(ctx, b.artifacts[0])
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
		return &VerifyError{&report}
	}
	return nil
}

// bootable is what to boot of an artifact. What is not a file system is
// unpacked, as whoever gets it would.
func (b *build) bootable(ctx context.Context, a image.Artifact) (verify.Target, error) {
	switch a.Format {
	case image.Directory:
		return verify.Target{Tree: a.Path}, nil
	case image.Squashfs, image.Erofs, image.Raw:
		return verify.Target{Image: a.Path}, nil
	}
	b.tell("verify", pipeline.Progress, "unpack")
	root := filepath.Join(b.place.hidden, "verify")
	return verify.Target{Tree: root}, image.Unpack(ctx, a.Path, a.Format, root)
}
