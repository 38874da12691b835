package image

import (
	"context"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// Extent is how large a tree is.
type Extent struct {
	Entries int64
	Bytes   int64 // of files, in whole blocks; one with several names counts once
}

// block is what file systems mostly give room by.
const block = 4096

// Measure tells how large a tree is.
func Measure(ctx context.Context, t *rootfs.Tree) (e Extent, err error) {
	err = t.Visit(ctx, nil, func(in rootfs.Entry) error {
		e.Entries++
		switch {
		case in.Kind == rootfs.File && in.First == "":
			e.Bytes += (in.Size + block - 1) &^ (block - 1)
		case in.Kind == rootfs.Directory:
			e.Bytes += block
		}
		return nil
	})
	return e, err
}

// Room is about how much room writing a tree in a format takes on the disk, in
// bytes: what of it is the image, and what is only there while it is written.
// What share of a tree an image is was measured on Debian's; of one full of what
// is compressed already it is more.
func Room(f Format, e Extent) (image, meanwhile int64) {
	const (
		inode  = 256
		header = 1024 // of a tar, for each entry
	)
	tree := e.Bytes + e.Entries*inode
	switch f {
	case Tar:
		return e.Bytes + e.Entries*header, 0
	case TarXZ:
		return tree * 25 / 100, 0
	case TarZstd, Squashfs:
		return tree * 33 / 100, 0
	case TarGzip, OCI:
		return tree * 40 / 100, 0
	case Erofs: // of a copy
		return tree * 55 / 100, tree
	case Raw: // the file system, and the disk that it is copied to
		return tree * 105 / 100, tree * 105 / 100
	}
	return tree, 0
}
