package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// write writes the canonical tar, and returns its digest: the identity of what
// is in the image. With options it is not quite that one.
func (j *job) write(w io.Writer, o archive.WriteOptions) (string, error) {
	sum := sha256.New()
	o.Epoch = j.Epoch
	if j.Progress != nil {
		o.Progress = func(files uint64) { j.Progress(files, j.total) }
	}
	if err := archive.Write(j.ctx, io.MultiWriter(w, sum), j.tree, o); err != nil {
		return "", err
	}
	return inHex(sum), nil
}

func inHex(sum hash.Hash) string { return hex.EncodeToString(sum.Sum(nil)) }

// feed has use read what produce writes, both at the same time. A failure of
// produce counts more than what use makes of it.
func feed(produce func(io.Writer) error, use func(io.Reader) error) error {
	r, w := io.Pipe()
	produced := make(chan error, 1)
	go func() {
		err := produce(w)
		_ = w.CloseWithError(err) // a pipe's never fails
		produced <- err
	}()
	err := use(r)
	_ = r.CloseWithError(io.ErrClosedPipe) // a pipe's never fails
	if made := <-produced; made != nil && !errors.Is(made, io.ErrClosedPipe) {
		return made
	}
	return err
}

// tar is the canonical tar, compressed or not.
func (j *job) tar() (string, int64, error) {
	c, _ := j.format.compression()
	f, err := j.scratch.create(result)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	_, sum, size, err := j.compressed(f, c)
	return sum, size, err
}

// compressed writes the canonical tar to f, and tells the digests of the tar
// and of the file.
func (j *job) compressed(f *os.File, c archive.Compression) (plain, sum string, size int64, err error) {
	whole := sha256.New()
	w, err := archive.Compress(io.MultiWriter(f, whole), c, archive.CompressOptions{})
	if err != nil {
		return "", "", 0, err
	}
	plain, err = j.write(w, archive.WriteOptions{})
	if err := errors.Join(err, w.Close()); err != nil {
		return "", "", 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return "", "", 0, err
	}
	return plain, inHex(whole), info.Size(), nil
}

// stage makes the tree again in the scratch directory, as it is to be: for
// programs that take a directory, and to be one.
func (j *job) stage(name string) (digest string, err error) {
	root := j.scratch.path(name)
	if err := rootfs.MakeRoot(root); err != nil {
		return "", err
	}
	err = feed(func(w io.Writer) error {
		digest, err = j.write(w, archive.WriteOptions{})
		return err
	}, func(r io.Reader) error {
		return archive.Extract(j.ctx, r, root, archive.ExtractOptions{})
	})
	return digest, err
}

func (j *job) directory() (string, int64, error) {
	digest, err := j.stage(result)
	if err != nil {
		return "", 0, err
	}
	size, err := contentSize(j.ctx, j.scratch.path(result))
	return digest, size, err
}

// contentSize adds up what is in the files of a tree.
func contentSize(ctx context.Context, path string) (sum int64, err error) {
	t, err := rootfs.Open(path)
	if err != nil {
		return 0, err
	}
	err = t.Visit(ctx, nil, func(e rootfs.Entry) error {
		if e.Kind == rootfs.File && e.First == "" {
			sum += e.Size
		}
		return nil
	})
	return sum, errors.Join(err, t.Close())
}

// digestOf is that of a file in the scratch directory, and its size.
func (j *job) digestOf(name string) (string, int64, error) {
	f, err := os.Open(j.scratch.path(name))
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	return inHex(sum), size, err
}
