package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// Unpack makes the tree at root, where nothing must be, from the image at path.
// What it had made is removed when it fails. An image may be a stranger's: it
// makes entries of the tree and reaches nothing else.
//
// Squashfs, erofs and raw images are read by the kernel, from a loop device, and
// mounted nowhere. Where there are none it says so with ErrNoLoop.
func Unpack(ctx context.Context, path string, f Format, root string) error {
	if err := unpack(ctx, path, f, root); err != nil {
		return fmt.Errorf("unpack %s image %q: %w", f, path, err)
	}
	return nil
}

func unpack(ctx context.Context, path string, f Format, root string) (err error) {
	if f == TarXZ {
		if err := checkNeeds(Needs(f)); err != nil {
			return err
		}
	}
	if err := rootfs.MakeRoot(root); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTree(root))
		}
	}()
	extract := func(r io.Reader) error { return archive.Extract(ctx, r, root, archive.ExtractOptions{}) }
	if c, ok := f.compression(); ok {
		return fromTar(path, c, extract)
	}
	switch f {
	case OCI:
		return fromOCI(path, extract)
	case Directory:
		t, err := rootfs.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(fromTree(ctx, t, archive.WriteOptions{}, extract), t.Close())
	case Squashfs, Erofs, Raw:
		t, err := openDisk(path, f)
		if err != nil {
			return err
		}
		o := archive.WriteOptions{}
		if f == Raw { // ext4 has it, whatever is in there
			o.Leave, o.Skip = []string{lostFound}, func(name string) bool { return name == lostFound }
		}
		return errors.Join(fromTree(ctx, t, o, extract), t.Close())
	}
	return fmt.Errorf("it is not a format: there are %s", joined(Formats()))
}

const lostFound = "lost+found"

func removeTree(root string) error {
	t, err := rootfs.Open(root)
	if err != nil {
		return err
	}
	id, err := t.Identity()
	if err := errors.Join(err, t.Close()); err != nil {
		return err
	}
	return rootfs.RemoveTree(context.Background(), root, id)
}

func fromTar(path string, c archive.Compression, extract func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := archive.Decompress(f, c)
	if err != nil {
		return err
	}
	return errors.Join(extract(r), r.Close())
}

func fromTree(ctx context.Context, t *rootfs.Tree, o archive.WriteOptions, extract func(io.Reader) error) error {
	return feed(func(w io.Writer) error { return archive.Write(ctx, w, t, o) }, extract)
}

// fromOCI takes the only image of a layout. One of several layers becomes one
// first.
func fromOCI(path string, extract func(io.Reader) error) error {
	img, err := onlyImage(path)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	var r io.ReadCloser
	if len(layers) == 1 {
		r, err = layers[0].Uncompressed()
	} else {
		r = mutate.Extract(img)
	}
	if err != nil {
		return err
	}
	return errors.Join(extract(r), r.Close())
}

// onlyImage is the image of a layout that has no choice.
func onlyImage(path string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return nil, err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(list.Manifests) != 1 {
		return nil, fmt.Errorf("the layout holds %d images, and which one is meant cannot be told", len(list.Manifests))
	}
	return index.Image(list.Manifests[0].Digest)
}
