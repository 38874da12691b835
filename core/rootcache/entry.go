package rootcache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// What is in the directory of an entry: what is known of it, and the tree as
// one of two.
const (
	metaFile = "entry"
	blobFile = "tree.tar.zst"
	snapshot = "tree"
)

// maxMeta bounds what is read of what is known of an entry.
const maxMeta = 64 << 20

var nameForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// kept is an entry as it is on disk. Exactly one of Blob and Seal is set.
type kept struct {
	Entry

	Blob *blob            `json:"blob,omitempty"`
	Seal *rootfs.Seal     `json:"seal,omitempty"`
	Root *rootfs.Identity `json:"root,omitempty"` // of the snapshot
}

// blob is an archive of a tree.
type blob struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`   // compressed
	Stream int64  `json:"stream"` // and not
}

// damagedError is why an entry is not served. It is removed.
type damagedError struct{ reason string }

func (e *damagedError) Error() string { return e.reason }

func damaged(format string, args ...any) error {
	return &damagedError{fmt.Sprintf(format, args...)}
}

// encode writes what is known of an entry: a line with the digest of the rest,
// and JSON.
func (k kept) encode() ([]byte, error) {
	b, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	return append([]byte(digest(b)+"\n"), b...), nil
}

func decode(b []byte) (k kept, err error) {
	sum, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(sum) != digest(rest) {
		return kept{}, damaged("what is known of it is not what was written down")
	}
	if err := json.Unmarshal(rest, &k); err != nil {
		return kept{}, damaged("what is known of it cannot be read: %v", err)
	}
	if k.Key.Digest() != k.Digest || (k.Blob == nil) == (k.Seal == nil) || (k.Seal == nil) != (k.Root == nil) {
		return kept{}, damaged("what is known of it does not fit together")
	}
	return k, nil
}

// reading is an entry that is open: nobody removes it meanwhile.
type reading struct {
	kept
	dir  *os.File
	path string
}

func (r *reading) close() error { return r.dir.Close() }

// open opens an entry. The error is os.ErrNotExist when there is none, or it is
// being removed, and a *damagedError for one that must not be served.
func (c *Cache) open(name string) (_ *reading, err error) {
	path := c.path(name)
	dir, err := openDir(path)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, damaged("it is no directory")
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dir.Close())
		}
	}()
	info, err := dir.Stat()
	if err != nil {
		return nil, err
	}
	if !private(info) {
		return nil, damaged("it is not root's alone")
	}
	if !hold(dir, unix.LOCK_SH) || !still(dir, path) {
		return nil, os.ErrNotExist
	}
	f, err := openFile(dir, metaFile)
	if err != nil {
		return nil, damaged("%v", err)
	}
	defer f.Close()
	r := &reading{dir: dir, path: path}
	content, err := io.ReadAll(io.LimitReader(f, maxMeta))
	if err != nil {
		return nil, damaged("what is known of it cannot be read: %v", err)
	}
	if r.kept, err = decode(content); err != nil {
		return nil, err
	}
	if r.Digest != name {
		return nil, damaged("it is of another key")
	}
	if info, err := f.Stat(); err == nil {
		r.Used = info.ModTime().UTC()
	}
	return r, nil
}

// touch keeps that an entry was used now. That it cannot is no reason to fail.
func (r *reading) touch() {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(r.path, metaFile), now, now)
	r.Used = now.UTC()
}
