package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nspawn-build/nspawn-build/core/archive"
)

// ociArchitectures are the names that OCI has, which are Go's.
var ociArchitectures = map[string][2]string{
	"x86_64": {"amd64"}, "i686": {"386"}, "aarch64": {"arm64"}, "armv7l": {"arm", "v7"}, "riscv64": {"riscv64"},
	"ppc64le": {"ppc64le"}, "s390x": {"s390x"}, "loongarch64": {"loong64"},
}

// Tag is the name that the image has within its OCI layout.
const Tag = "latest"

// layer is a compressed tar in a file.
type layer struct {
	path         string
	digest, diff v1.Hash
	size         int64
}

// Digest is that of the file.
func (l layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID is the digest of the tar.
func (l layer) DiffID() (v1.Hash, error) { return l.diff, nil }

// Compressed reads the file.
func (l layer) Compressed() (io.ReadCloser, error) { return os.Open(l.path) }

// Size is that of the file.
func (l layer) Size() (int64, error) { return l.size, nil }

// MediaType is what every tool can read.
func (l layer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

// Uncompressed reads the tar.
func (l layer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	z, err := archive.Decompress(f, archive.Gzip)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return both{z, f}, nil
}

// both closes what reads and what it reads from.
type both struct {
	io.ReadCloser
	under io.Closer
}

// Close closes both.
func (b both) Close() error { return errors.Join(b.ReadCloser.Close(), b.under.Close()) }

// oci is a layout with one image of one layer.
func (j *job) oci() (string, int64, error) {
	arch, ok := ociArchitectures[j.Arch]
	if !ok {
		return "", 0, fmt.Errorf("architecture: %q has no name in OCI images", j.Arch)
	}
	f, err := j.scratch.create("layer")
	if err != nil {
		return "", 0, err
	}
	plain, sum, size, err := j.compressed(f, archive.Gzip)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", 0, err
	}
	l := layer{
		path: j.scratch.path("layer"), size: size,
		digest: v1.Hash{Algorithm: "sha256", Hex: sum}, diff: v1.Hash{Algorithm: "sha256", Hex: plain},
	}
	img, err := j.ociImage(l, v1.Platform{OS: "linux", Architecture: arch[0], Variant: arch[1]})
	if err != nil {
		return "", 0, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	to, err := layout.Write(j.scratch.path(result), index)
	if err != nil {
		return "", 0, err
	}
	if err := to.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": Tag})); err != nil {
		return "", 0, err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", 0, err
	}
	total, err := settle(j.scratch.path(result))
	return digest.Hex, total, err
}

// ociImage is what is told of the layer: that it is a system which boots.
func (j *job) ociImage(l v1.Layer, p v1.Platform) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	config := &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		Config: v1.Config{Cmd: []string{"/sbin/init"}, StopSignal: "SIGRTMIN+3", Labels: j.Labels},
		RootFS: v1.RootFS{Type: "layers"},
	}
	entry := v1.History{CreatedBy: "nspawn-build", Comment: j.Name}
	if !j.Epoch.IsZero() {
		config.Created = v1.Time{Time: j.Epoch.UTC()}
		entry.Created = config.Created
	}
	img, err := mutate.ConfigFile(img, config)
	if err != nil {
		return nil, err
	}
	return mutate.Append(img, mutate.Addendum{Layer: l, History: entry, MediaType: types.OCILayer})
}

// settle lets everybody read what a library made, brings it to disk and adds
// up what there is.
func settle(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if d.IsDir() {
			mode = 0o755
		} else {
			info, err := d.Info()
			if err != nil {
				return err
			}
			total += info.Size()
		}
		return os.Chmod(name, mode)
	})
	return total, err
}
