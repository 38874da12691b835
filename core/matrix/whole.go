package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// formatOCI is the format whose directory names by digests all that is in it.
const formatOCI = "oci"

// whole reports whether the image of an earlier run is still there as it was
// made. Of a plain directory that it is there must do: its digest is that of an
// archive of it, which nobody made.
func (img *Image) whole(dir string) bool {
	if img == nil || len(img.Artifacts) == 0 {
		return false
	}
	return !slices.ContainsFunc(img.Artifacts, func(a Artifact) bool {
		path := filepath.Join(dir, a.Path)
		if a.Format == formatOCI {
			return checkLayout(path, a.SHA256) != nil
		}
		info, err := os.Lstat(path)
		if err != nil || info.IsDir() {
			return err != nil
		}
		sum, err := fileDigest(path)
		return err != nil || sum != a.SHA256
	})
}

// checkLayout makes sure that an OCI layout has one image, that of a digest, and
// that all that this names is what it was.
func checkLayout(path, digest string) error {
	raw, err := readRegular(filepath.Join(path, "index.json"))
	if err != nil {
		return err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return err
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != (v1.Hash{Algorithm: "sha256", Hex: digest}) {
		return errors.New("it is another image")
	}
	if err := checkBlob(path, index.Manifests[0].Digest); err != nil {
		return err
	}
	raw, err = readRegular(blobPath(path, index.Manifests[0].Digest))
	if err != nil {
		return err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return err
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		if err := checkBlob(path, d.Digest); err != nil {
			return err
		}
	}
	return nil
}

func blobPath(layout string, h v1.Hash) string {
	return filepath.Join(layout, "blobs", h.Algorithm, h.Hex)
}

func checkBlob(layout string, h v1.Hash) error {
	info, err := os.Lstat(blobPath(layout, h))
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", h)
	}
	sum, err := fileDigest(blobPath(layout, h))
	if err == nil && (h.Algorithm != "sha256" || sum != h.Hex) {
		err = fmt.Errorf("%s is %s", h, sum)
	}
	return err
}

// readRegular reads a file of a layout, of which none is long but layers.
func readRegular(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrInvalid
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, resultLimit))
}
