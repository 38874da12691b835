package images

import (
	"context"
	"errors"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// baseOrigin is a tree that is unpacked from an image.
type baseOrigin struct {
	path   string
	format image.Format
	facts  sdk.Facts
}

func (o *baseOrigin) Detail() string { return "from " + o.path }

// Make unpacks the image.
func (o *baseOrigin) Make(ctx context.Context, _ *store.Record, root, _ string) (sdk.Facts, error) {
	return o.facts, image.Unpack(ctx, o.path, o.format, root)
}

// fromBase has the tree come from an image and what is to be known of it from
// its manifest.
func (b *build) fromBase() error {
	bad := func(field, value, problem, hint string) error {
		return spec.Invalid{{Field: field, Value: value, Problem: problem, Hint: hint}}
	}
	m, err := ReadManifest(b.Base)
	if errors.Is(err, ErrNoManifest) {
		return bad("base", b.Base, "is no image with a manifest beside it", "name an image that nspawn-build image made")
	}
	if err != nil {
		return err
	}
	format, err := image.FormatOf(b.Base)
	if err != nil {
		return bad("base", b.Base, "is not an image: "+err.Error(), "name a directory or a tar that nspawn-build image made")
	}
	facts := sdk.Facts(m.Facts)
	facts.Packages = unlisted(m.Packages)
	if err := stages.CheckFacts(facts); err != nil {
		return bad("base", b.Base, "has a manifest that cannot be used: "+err.Error(), "make that image again")
	}
	switch s := b.Spec; {
	case s.Distro != m.Distro:
		return bad("distro", s.Distro, "is not that of the base: "+m.Distro, "leave --distro out")
	case s.Release != "" && s.Release != m.Release:
		return bad("release", s.Release, "is not that of the base: "+m.Release, "leave --release out")
	case len(s.Packages) > 0:
		return bad("package", s.Packages[0], "cannot be added to an image that is made already", "give it to the base, or install it by a --script with --script-network")
	case b.Image.Lock != "":
		return bad("image.lock", b.Image.Lock, "is about a bootstrap, and a base needs none", "leave --locked out, or --base")
	}
	if b.epoch == 0 {
		b.epoch = m.SourceDateEpoch
	}
	b.base = &Base{m.Name, m.Digest}
	b.origin = &baseOrigin{b.Base, format, facts}
	b.request = sdk.Request{Distro: m.Distro, Release: m.Release, Architecture: m.Arch}
	return nil
}

// DistroOf is the distribution of an image that is to be a base.
func DistroOf(path string) (string, error) {
	m, err := ReadManifest(path)
	if errors.Is(err, ErrNoManifest) {
		return "", spec.Invalid{{Field: "base", Value: path, Problem: "is no image with a manifest beside it", Hint: "name an image that nspawn-build image made"}}
	}
	return m.Distro, err
}
