// Package registry lets caches of several hosts share trees by an OCI registry:
// a repository of it holds an artifact for each key, tagged with the key's
// digest. Its configuration is what is known of the entry, its one layer the
// tree as rootcache exports it.
//
// Nothing that comes from a registry is believed: that every blob is the one
// that the manifest names is checked while it is read, that the key is the one
// that was asked for and the tree the one that the configuration promises before
// it is kept. What cannot be checked is whether the tree is one that the
// distribution would make: who can write to the repository decides that. Plain
// HTTP is spoken to loopback only, unless that is allowed.
package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/rootcache"
)

// The types of what is in a registry.
const (
	configType types.MediaType = "application/vnd.nspawn-build.rootfs.config.v1+json"
	layerType  types.MediaType = "application/vnd.nspawn-build.rootfs.tar+zstd"
)

// maxConfig bounds what is read of what is known of an entry.
const maxConfig = 16 << 20

// Options say how a registry is reached.
type Options = registry.Options

// Repository is a repository of a registry.
type Repository struct {
	repository name.Repository
	how        Options
}

// Open returns the repository of that name, which names no tag.
func Open(ref string, o Options) (*Repository, error) {
	repository, err := o.Repository(ref)
	return &Repository{repository, o}, err
}

// Where names the repository.
func (r *Repository) Where() string { return r.repository.Name() }

func (r *Repository) tag(digest string) name.Tag { return r.repository.Tag(digest) }

// Pull puts the entry of a key into the cache; the lock of the key is held, for
// no longer than the patience with the registry lasts.
func (r *Repository) Pull(ctx context.Context, k rootcache.Key, into *rootcache.Cache) error {
	within, end := r.how.Fetching(ctx, r.repository.RegistryStr())
	defer end()
	image, err := remote.Image(r.tag(k.Digest()), r.how.Guarded(within)...)
	if isMissing(err) {
		return fmt.Errorf("%w: %s has no such tree", rootcache.ErrMiss, r.Where())
	}
	if err == nil {
		err = judged(keepImage(ctx, k, image, into))
	}
	return orCause(ctx, within, err)
}

// orCause is an error, or that the registry was silent for too long.
func orCause(ctx, within context.Context, err error) error {
	if cause := registry.Cause(ctx, within); err != nil && cause != nil {
		return cause
	}
	return err
}

// keepImage keeps what a tag is of, if that is the tree of its key.
func keepImage(ctx context.Context, k rootcache.Key, image v1.Image, into *rootcache.Cache) error {
	e, layer, err := open(image)
	if err != nil {
		return err
	}
	if e.Digest != k.Digest() {
		return errors.New("what it has under the key is of another")
	}
	// The reader fails at its end if it was not what the manifest names.
	blob, err := layer.Compressed()
	if err != nil {
		return err
	}
	return errors.Join(into.Import(ctx, e, blob), blob.Close())
}

// unsound is an error about what a registry has, and not about reaching it or
// about this host.
type unsound struct{ error }

func (u unsound) Unwrap() error { return u.error }

func (unsound) Is(target error) bool { return target == rootcache.ErrUnsound }

// judged makes an error unsound, unless the next one who asks may fare better.
func judged(err error) error {
	if err == nil {
		return nil
	}
	var answer *transport.Error
	var network net.Error
	var errno syscall.Errno
	if errors.Is(err, rootcache.ErrTooLarge) {
		return err
	}
	missing := isMissing(err) // of a blob that its manifest names
	if !missing && (errors.As(err, &answer) || errors.As(err, &network) || errors.As(err, &errno) || errors.Is(err, context.Canceled)) {
		return err
	}
	return unsound{err}
}

// open reads what is known of an entry, and finds its tree.
func open(image v1.Image) (rootcache.Entry, v1.Layer, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return rootcache.Entry{}, nil, err
	}
	if manifest.Config.MediaType != configType || len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != layerType {
		return rootcache.Entry{}, nil, errors.New("what it has under the key is no tree")
	}
	// Less than nothing is how the library says that a size is not to be checked.
	if size := manifest.Config.Size; size < 0 || size > maxConfig {
		return rootcache.Entry{}, nil, errors.New("what it says of the tree is too long")
	}
	if manifest.Layers[0].Size < 0 {
		return rootcache.Entry{}, nil, errors.New("it does not say how long the tree is")
	}
	raw, err := image.RawConfigFile()
	if err != nil {
		return rootcache.Entry{}, nil, err
	}
	var e rootcache.Entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return rootcache.Entry{}, nil, fmt.Errorf("what it says of the tree: %w", err)
	}
	layer, err := image.LayerByDigest(manifest.Layers[0].Digest)
	return e, layer, err
}

// Push uploads an entry, unless there is one of its key that is not to be
// replaced.
func (r *Repository) Push(ctx context.Context, e rootcache.Entry, from *rootcache.Cache, replace bool) error {
	tag := r.tag(e.Digest)
	there, err := r.has(ctx, tag)
	if err != nil || there && !replace {
		return err
	}
	image, discard, err := artifact(ctx, e, from)
	if err != nil {
		return err
	}
	within, end := r.how.Uploading(ctx, r.repository.RegistryStr())
	defer end()
	err = orCause(ctx, within, remote.Write(tag, image, r.how.Guarded(within)...))
	return errors.Join(err, discard())
}

// has tells whether there is something under a tag.
func (r *Repository) has(ctx context.Context, tag name.Tag) (bool, error) {
	within, end := r.how.Fetching(ctx, r.repository.RegistryStr())
	defer end()
	_, err := remote.Head(tag, r.how.Guarded(within)...)
	if isMissing(err) {
		return false, nil
	}
	return err == nil, orCause(ctx, within, err)
}

// isMissing tells whether a registry has no such tag or repository.
func isMissing(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// artifact exports an entry to a temporary file and makes what a registry holds
// of it.
func artifact(ctx context.Context, e rootcache.Entry, from *rootcache.Cache) (_ v1.Image, discard func() error, err error) {
	f, err := os.CreateTemp("", ".nspawn-build-push-")
	if err != nil {
		return nil, nil, err
	}
	// It has no name any more: whatever ends this process, it goes with it.
	if err := os.Remove(f.Name()); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if err := from.Export(ctx, e.Digest, f); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	a := &image{layer: layer{f: f}}
	if a.config, err = json.Marshal(portable(e)); err == nil {
		err = a.seal()
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	full, err := partial.CompressedToImage(a)
	return full, f.Close, err
}

// portable is what is known of an entry wherever it is.
func portable(e rootcache.Entry) rootcache.Entry {
	e.Used, e.Size = e.Made, 0
	return e
}

// image is an artifact of one layer.
type image struct {
	config   []byte
	layer    layer
	manifest []byte
}

func (a *image) seal() error {
	size, err := a.layer.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	hash, _, err := v1.SHA256(io.NewSectionReader(a.layer.f, 0, size))
	if err != nil {
		return err
	}
	a.layer.hash, a.layer.size = hash, size
	config, configSize, err := v1.SHA256(bytes.NewReader(a.config))
	if err != nil {
		return err
	}
	a.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: configType, Size: configSize, Digest: config},
		Layers: []v1.Descriptor{{MediaType: layerType, Size: size, Digest: hash}},
	})
	return err
}

// MediaType implements partial.CompressedImageCore, with what follows.
func (*image) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// RawConfigFile is what is known of the entry.
func (a *image) RawConfigFile() ([]byte, error) { return a.config, nil }

// RawManifest names the two blobs.
func (a *image) RawManifest() ([]byte, error) { return a.manifest, nil }

// LayerByDigest finds the tree.
func (a *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h != a.layer.hash {
		return nil, fmt.Errorf("there is no layer %s", h)
	}
	return &a.layer, nil
}

// layer is the exported tree.
type layer struct {
	f    *os.File
	hash v1.Hash
	size int64
}

func (l *layer) Digest() (v1.Hash, error) { return l.hash, nil }
func (l *layer) Size() (int64, error)     { return l.size, nil }

func (*layer) MediaType() (types.MediaType, error) { return layerType, nil }

func (l *layer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(l.f, 0, l.size)), nil
}
