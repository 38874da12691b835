package image

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nspawn-build/nspawn-build/core/registry"
)

// Push uploads the image of an OCI layout to a registry under a tag, and returns
// by which digest it is had there: "registry.example.org/images/web@sha256:…".
func Push(ctx context.Context, path string, to name.Tag, how registry.Options) (string, error) {
	within, end := how.Uploading(ctx, to.RegistryStr())
	defer end()
	digest, err := push(within, path, to, how)
	if cause := registry.Cause(ctx, within); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return "", fmt.Errorf("pushing to %s: %w", to, err)
	}
	return digest, nil
}

func push(ctx context.Context, path string, to name.Tag, how registry.Options) (string, error) {
	index, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return "", err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return "", err
	}
	if len(manifest.Manifests) != 1 {
		return "", fmt.Errorf("the layout has %d images, not one", len(manifest.Manifests))
	}
	digest := manifest.Manifests[0].Digest
	img, err := index.Image(digest)
	if err != nil {
		return "", err
	}
	if err := remote.Write(to, img, how.Guarded(ctx)...); err != nil {
		return "", err
	}
	return to.Digest(digest.String()).String(), nil
}
