package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// What an artifact is made of: an index with a manifest for each architecture,
// or one manifest; in each manifest one layer, the program as it is.
const (
	artifactType                 = "application/vnd.nspawn-build.plugin.v1"
	binaryType   types.MediaType = "application/vnd.nspawn-build.plugin.binary.v1"
	emptyType    types.MediaType = "application/vnd.oci.empty.v1+json"

	titleNote     = "org.opencontainers.image.title" // nspawn-build-plugin-NAME
	signatureNote = "vnd.nspawn-build.plugin.signature"
)

// maxPlatforms is more than there are.
const maxPlatforms = 64

// pull fetches the plugin of an artifact that is for this machine.
func (s *Store) pull(ctx context.Context, src source) (*candidate, error) {
	within, end := s.Registry.Fetching(ctx, src.ref.Context().RegistryStr())
	defer end()
	c, err := pulled(src, s.Registry.Guarded(within))
	if err != nil {
		return nil, explain(ctx, within, "fetching", src, err)
	}
	return c, nil
}

// digestNow is the digest of what an artifact's name leads to now.
func (s *Store) digestNow(ctx context.Context, src source) (string, error) {
	within, end := s.Registry.Fetching(ctx, src.ref.Context().RegistryStr())
	defer end()
	d, err := remote.Get(src.ref, s.Registry.Guarded(within)...)
	if err != nil {
		return "", explain(ctx, within, "fetching", src, err)
	}
	return d.Digest.String(), nil
}

func pulled(src source, options []remote.Option) (*candidate, error) {
	top, err := remote.Get(src.ref, options...)
	if err != nil {
		return nil, err
	}
	one := top
	if top.MediaType == types.OCIImageIndex {
		d, err := choose(src, top.Manifest)
		if err != nil {
			return nil, err
		}
		if one, err = remote.Get(src.ref.Context().Digest(d.Digest.String()), options...); err != nil {
			return nil, err
		}
	}
	layer, err := programLayer(src, one)
	if err != nil {
		return nil, err
	}
	c := &candidate{source: src.text, digest: top.Digest.String()}
	var ok bool
	if c.name, ok = pluginhost.NameOf(layer.Annotations[titleNote]); !ok {
		return nil, unfit(makerHint, "%s does not say which plugin it is: its title is %q", src.text, sdk.Clean(layer.Annotations[titleNote], 128))
	}
	if sig := layer.Annotations[signatureNote]; sig != "" {
		c.signature = []byte(sig)
	}
	c.content, err = blob(src.ref.Context(), layer, options)
	return c, err
}

const makerHint = "this is for its maker to mend; nspawn-build plugin push makes artifacts that are as they must be"

// choose finds this machine's manifest in an index.
func choose(src source, raw []byte) (v1.Descriptor, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return v1.Descriptor{}, unfit(makerHint, "%s: its index cannot be read: %v", src.text, err)
	}
	if index.MediaType != "" && index.MediaType != types.OCIImageIndex {
		return v1.Descriptor{}, unfit(makerHint, "%s calls itself %q, and came as an index", src.text, index.MediaType)
	}
	if index.ArtifactType != "" && index.ArtifactType != artifactType {
		return v1.Descriptor{}, notPlugin(src, index.ArtifactType)
	}
	if len(index.Manifests) > maxPlatforms {
		return v1.Descriptor{}, unfit(makerHint, "%s lists %d manifests, which are too many", src.text, len(index.Manifests))
	}
	var found, others []string
	var chosen v1.Descriptor
	for _, d := range index.Manifests {
		if d.Platform == nil {
			continue
		}
		if is := d.Platform.OS + "/" + d.Platform.Architecture; is == platform(runtime.GOARCH) {
			found, chosen = append(found, is), d
		} else {
			others = append(others, sdk.Clean(is, 64))
		}
	}
	switch {
	case len(found) == 0:
		return chosen, unfit("ask its maker for one, or build it", "%s has nothing for %s, only for %q", src.text, platform(runtime.GOARCH), others)
	case len(found) > 1:
		return chosen, unfit(makerHint, "%s has %d programs for %s", src.text, len(found), platform(runtime.GOARCH))
	case chosen.MediaType != types.OCIManifestSchema1:
		return chosen, unfit(makerHint, "%s: what its index lists is a %q, not a manifest", src.text, sdk.Clean(string(chosen.MediaType), 128))
	}
	return chosen, nil
}

func platform(arch string) string { return "linux/" + arch }

func notPlugin(src source, is string) error {
	return unfit("name the artifact of a plugin", "%s is not a plugin: it is of type %q", src.text, sdk.Clean(is, 128))
}

// programLayer finds the one layer of a manifest.
func programLayer(src source, d *remote.Descriptor) (v1.Descriptor, error) {
	if d.MediaType != types.OCIManifestSchema1 {
		return v1.Descriptor{}, notPlugin(src, string(d.MediaType))
	}
	var m v1.Manifest
	if err := json.Unmarshal(d.Manifest, &m); err != nil {
		return v1.Descriptor{}, unfit(makerHint, "%s: its manifest cannot be read: %v", src.text, err)
	}
	if m.MediaType != "" && m.MediaType != types.OCIManifestSchema1 {
		return v1.Descriptor{}, notPlugin(src, string(m.MediaType))
	}
	is := m.ArtifactType
	if is == "" {
		is = string(m.Config.MediaType) // as registries have it that know no artifacts
	}
	if is != artifactType {
		return v1.Descriptor{}, notPlugin(src, is)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != binaryType {
		return v1.Descriptor{}, unfit(makerHint, "%s has not one layer that is a plugin's program", src.text)
	}
	layer := m.Layers[0]
	if layer.Size <= 0 || layer.Size > MaxSize {
		return layer, unfit(makerHint, "%s: its program has %d bytes, and at most %d are taken", src.text, layer.Size, int64(MaxSize))
	}
	return layer, nil
}

// blob reads a layer, which must be the one that the manifest names.
func blob(from name.Repository, d v1.Descriptor, options []remote.Option) ([]byte, error) {
	layer, err := remote.Layer(from.Digest(d.Digest.String()), options...)
	if err != nil {
		return nil, err
	}
	in, err := layer.Compressed() // as it is
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // only read from
	content, err := io.ReadAll(io.LimitReader(in, d.Size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) != d.Size {
		return nil, fmt.Errorf("it sends other than the %d bytes that its manifest says", d.Size)
	}
	return content, nil
}

// explain says in words of ours why an artifact was not fetched or pushed within a context
// that may have ended before the whole did.
func explain(ctx, within context.Context, doing string, src source, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if cause := registry.Cause(ctx, within); cause != nil {
		return &Error{Kind: Unreachable, Problem: doing + " " + src.text, Advice: "try again", Err: cause}
	}
	var refused *registry.RefusedError
	if errors.As(err, &refused) {
		return &Error{Kind: Unfit, Problem: doing + " " + src.text, Advice: "the registry is not to be trusted as it is; --registry-insecure allows one without TLS", Err: refused}
	}
	var answer *transport.Error
	if errors.As(err, &answer) {
		hint := "is the registry well?"
		switch answer.StatusCode {
		case http.StatusNotFound:
			hint = "is the name right, and the tag?"
		case http.StatusUnauthorized, http.StatusForbidden:
			hint = "log in to the registry: docker login, or podman login --authfile ~/.docker/config.json"
		}
		return &Error{Kind: Unreachable, Problem: doing + " " + src.text, Advice: hint, Err: errors.New(sdk.Clean(answer.Error(), 256))}
	}
	return &Error{Kind: Unreachable, Problem: doing + " " + src.text, Advice: "is the registry reached, and is it well?", Err: errors.New(sdk.Clean(err.Error(), 512))}
}
