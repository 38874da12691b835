// Package image writes a finished tree in the formats in which systems are
// handed on, and reads them again.
//
// The same tree gives the same bytes in each format: everything goes through
// the one canonical tar of core/archive, what is called an identity is derived
// from its digest, and no time, path, number of processors or order on disk of
// this host leaves a trace. Programs that make a format are run with nothing of
// the caller's environment, in a directory that nobody else can come near. Another
// version of such a program may give other bytes.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// Format is what an image is written as.
type Format string

// The formats.
const (
	Directory Format = "directory"
	Tar       Format = "tar"
	TarZstd   Format = "tar.zst"
	TarXZ     Format = "tar.xz"
	TarGzip   Format = "tar.gz"
	OCI       Format = "oci" // a layout on disk, with one layer
	Squashfs  Format = "squashfs"
	Erofs     Format = "erofs"
	Raw       Format = "raw" // a disk with a partition that is found and booted
)

// Formats are all of them.
func Formats() []Format {
	return []Format{Directory, Tar, TarZstd, TarXZ, TarGzip, OCI, Squashfs, Erofs, Raw}
}

func joined(formats []Format) string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// compression is that of a tar format.
func (f Format) compression() (archive.Compression, bool) {
	switch f {
	case Tar:
		return archive.None, true
	case TarZstd:
		return archive.Zstd, true
	case TarXZ:
		return archive.XZ, true
	case TarGzip:
		return archive.Gzip, true
	}
	return "", false
}

// Options say what an image is of.
type Options struct {
	Name   string            // of the image, for the formats that have room for one
	Arch   string            // as `uname -m` prints it; raw and oci need it
	Epoch  time.Time         // a file newer than it gets it; zero leaves times
	Labels map[string]string // of an oci image
	// Progress is told how many entries of how many have been read; nil for
	// nobody.
	Progress func(done, total uint64)
}

// Artifact is an image that was written.
type Artifact struct {
	Format Format `json:"format"`
	Path   string `json:"path"`
	// SHA256 is that of the file, in hex; of a directory that of its canonical
	// tar, of an OCI layout the digest of its manifest.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // in bytes, of all files of a directory
}

// Write writes the tree as the file or directory out, which must not be there
// and appears in one step, whole and on disk. The directory that it is to be in
// must be there; until then the image grows in a hidden one beside it.
//
// A *MissingError says that this host lacks a program, before anything is done.
func Write(ctx context.Context, t *rootfs.Tree, f Format, out string, o Options) (Artifact, error) {
	a, err := write(ctx, t, f, out, o)
	if err != nil {
		return Artifact{}, fmt.Errorf("write %s image %q: %w", f, out, err)
	}
	return a, nil
}

func write(ctx context.Context, t *rootfs.Tree, f Format, out string, o Options) (a Artifact, err error) {
	make, ok := writers[f]
	if !ok {
		return a, fmt.Errorf("%q is not a format: there are %s", f, joined(Formats()))
	}
	if err := checkNeeds(Needs(f)); err != nil {
		return a, err
	}
	if _, err := os.Lstat(out); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = os.ErrExist
		}
		return a, err
	}
	s, err := newScratch(out)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, s.remove(context.WithoutCancel(ctx))) }()
	j := &job{ctx: ctx, tree: t, scratch: s, format: f, Options: o}
	if err := j.survey(); err != nil {
		return a, err
	}
	a = Artifact{Format: f, Path: out}
	if a.SHA256, a.Size, err = make(j); err != nil {
		return a, err
	}
	return a, s.publish()
}

// writers make the image in the scratch directory, under the name image.
var writers = map[Format]func(*job) (sha256 string, size int64, err error){
	Directory: (*job).directory,
	Tar:       (*job).tar, TarZstd: (*job).tar, TarXZ: (*job).tar, TarGzip: (*job).tar,
	OCI:      (*job).oci,
	Squashfs: (*job).squashfs,
	Erofs:    (*job).erofs,
	Raw:      (*job).raw,
}

// job is one image being written.
type job struct {
	Options
	ctx     context.Context //nolint:containedctx // a job is one call
	tree    *rootfs.Tree
	scratch *scratch
	format  Format
	total   uint64            // entries
	newest  time.Time         // of their times, as they are written
	root    rootfs.Attributes // of the root directory
}

// survey finds out what is to be written.
func (j *job) survey() error {
	return j.tree.Visit(j.ctx, nil, func(e rootfs.Entry) error {
		if !j.Epoch.IsZero() && e.ModTime.After(j.Epoch) {
			e.ModTime = j.Epoch
		}
		if e.Name == "." {
			j.root = e.Attributes
		}
		if j.newest.Before(e.ModTime) {
			j.newest = e.ModTime
		}
		j.total++
		return nil
	})
}

// moment is the time that a file system is said to have been made, in seconds
// since 1970: when what is in it was last changed. Programs take 0 for now.
func (j *job) moment() int64 { return max(j.newest.Unix(), 1) }
