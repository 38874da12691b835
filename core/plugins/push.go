package plugins

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Program is the program of a plugin for one architecture.
type Program struct {
	Arch string // as Go has it: amd64, arm64; empty means what the file says
	Path string
}

// Push uploads a plugin to a registry and returns by which digest it is had
// there. The first program's file is called after the plugin. A signature
// beside a program, as ssh-keygen -Y sign makes it, goes with it.
func (s *Store) Push(ctx context.Context, programs []Program, to string) (string, error) {
	src, err := s.parse(to)
	if err != nil {
		return "", err
	}
	tag, ok := src.ref.(name.Tag)
	if !ok {
		return "", unfit("name a repository and a tag: oci://registry.example.org/plugins/zypper:1.2", "ref: %q is not a tag in a registry", to)
	}
	if len(programs) == 0 {
		return "", unfit("name a plugin's program", "there is nothing to push")
	}
	plugin, ok := pluginhost.NameOf(filepath.Base(programs[0].Path))
	if !ok {
		return "", unfit("a plugin is called after what it is: rename it to "+pluginhost.FileOf("NAME")+", where NAME is "+sdk.PluginNames, "file: %q is not the name of a plugin's file", programs[0].Path)
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, ArtifactType: artifactType}
	var manifests []document
	var blobs []v1.Layer
	var known []string
	for _, p := range programs {
		arch, content, signature, err := p.read()
		if err != nil {
			return "", err
		}
		if slices.Contains(known, arch) {
			return "", unfit("give one program for each", "there are two programs for %s", platform(arch))
		}
		known = append(known, arch)
		blobs = append(blobs, static.NewLayer(content, binaryType))
		m, d, err := manifestOf(plugin, content, signature)
		if err != nil {
			return "", err
		}
		d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		manifests, index.Manifests = append(manifests, m), append(index.Manifests, d)
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return "", err
	}
	within, end := s.Registry.Uploading(ctx, tag.RegistryStr())
	defer end()
	digest, err := upload(within, s.Registry, tag, blobs, manifests, document{raw, types.OCIImageIndex})
	if err != nil {
		return "", explain(ctx, within, "pushing", src, err)
	}
	return scheme + tag.Digest(digest).String(), nil
}

// read reads a program, the architecture that it is for, and its signature.
func (p Program) read() (arch string, content, signature []byte, err error) {
	if content, err = readFile(p.Path, MaxSize); err != nil {
		return "", nil, nil, &Error{Kind: Unfit, Problem: fmt.Sprintf("file: %q cannot be pushed", p.Path), Advice: "name the program of the plugin", Err: cause(err)}
	}
	signature, err = readFile(p.Path+SignatureSuffix, maxSig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil, err
	}
	is := ""
	if f, err := elf.NewFile(bytes.NewReader(content)); err == nil {
		is = pluginhost.Architecture(f.Machine)
	}
	switch {
	case p.Arch == "" && is == "":
		return "", nil, nil, unfit("say it: --platform linux/amd64="+p.Path+", for each that it runs on", "file: %q does not say which architecture it is for", p.Path)
	case p.Arch != "" && is != "" && p.Arch != is:
		return "", nil, nil, unfit("give each program with its own architecture", "file: %q is for %s, not for %s", p.Path, platform(is), platform(p.Arch))
	case p.Arch == "":
		return is, content, signature, nil
	}
	return p.Arch, content, signature, nil
}

// ParseProgram reads OS/ARCH=PATH.
func ParseProgram(text string) (Program, error) {
	on, path, ok := strings.Cut(text, "=")
	system, arch, ok2 := strings.Cut(on, "/")
	if !ok || !ok2 || system != "linux" || arch == "" || path == "" || !pluginhost.KnownArchitecture(arch) {
		return Program{}, unfit("write linux/ARCH=FILE, with ARCH as Go has it: linux/arm64=build/plugin", "platform: %q is not the program of an architecture", text)
	}
	return Program{Arch: arch, Path: path}, nil
}

// document is a manifest or an index, as a registry keeps it.
type document struct {
	raw  []byte
	kind types.MediaType
}

// RawManifest implements remote.Taggable, and MediaType says what it is.
func (d document) RawManifest() ([]byte, error) { return d.raw, nil }

// MediaType implements what remote.Put asks for.
func (d document) MediaType() (types.MediaType, error) { return d.kind, nil }

func manifestOf(plugin string, content, signature []byte) (document, v1.Descriptor, error) {
	layer := descriptorOf(content, binaryType)
	layer.Annotations = map[string]string{titleNote: pluginhost.FileOf(plugin)}
	if signature != nil {
		layer.Annotations[signatureNote] = string(signature)
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType,
		Config: descriptorOf(emptyConfig, emptyType), Layers: []v1.Descriptor{layer},
	})
	d := descriptorOf(raw, types.OCIManifestSchema1)
	d.ArtifactType = artifactType
	return document{raw, types.OCIManifestSchema1}, d, err
}

// emptyConfig is what an artifact has in place of a configuration.
var emptyConfig = []byte("{}")

func descriptorOf(content []byte, kind types.MediaType) v1.Descriptor {
	digest, size, _ := v1.SHA256(bytes.NewReader(content)) // memory can be read
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
}

// upload uploads what is referred to before what refers to it, the tag last.
func upload(ctx context.Context, how registry.Options, tag name.Tag, blobs []v1.Layer, manifests []document, index document) (string, error) {
	options := how.Guarded(ctx)
	for _, b := range append(blobs, static.NewLayer(emptyConfig, emptyType)) {
		if err := remote.WriteLayer(tag.Repository, b, options...); err != nil {
			return "", err
		}
	}
	for _, m := range manifests {
		if err := remote.Put(tag.Digest(descriptorOf(m.raw, m.kind).Digest.String()), m, options...); err != nil {
			return "", err
		}
	}
	return descriptorOf(index.raw, index.kind).Digest.String(), remote.Put(tag, index, options...)
}
