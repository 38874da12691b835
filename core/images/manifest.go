package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// ManifestVersion is the version of a manifest's form.
const ManifestVersion = 1

// Manifest says what an image is of and how it was made. It holds no secret, no
// path of the host that made it, and no time but the one that was given for it:
// the same image has the same manifest.
type Manifest struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	// Digest is the SHA-256 of the tree's canonical tar.
	Digest string `json:"digest"`
	// SourceDateEpoch stands for every time; 0 says that the clock's are left.
	SourceDateEpoch int64  `json:"sourceDateEpoch,omitempty"`
	Created         string `json:"created,omitempty"` // only without an epoch
	Tool            Maker  `json:"tool"`
	Plugin          *Maker `json:"plugin,omitempty"`
	// Engine is the program by which the plugin did it, where it says so.
	Engine string `json:"engine,omitempty"`
	// Tools are the host's programs that wrote the formats: the bytes of those, and
	// not the tree, depend on their versions.
	Tools []Maker `json:"tools,omitempty"`
	// Repository is where the packages are from; of a Base there is none.
	Repository *Repository `json:"repository,omitempty"`
	// Base is the image that this one was made of, in place of a bootstrap.
	Base    *Base  `json:"base,omitempty"`
	Distro  string `json:"distro"`
	Release string `json:"release,omitempty"`
	Arch    string `json:"arch"`

	Spec      spec.Spec    `json:"spec"`
	Taken     []spec.Taken `json:"taken,omitempty"`
	Artifacts []Artifact   `json:"artifacts"`
	Facts     Facts        `json:"facts"`
	Packages  []Package    `json:"packages"`
}

// Maker is a program that made an image.
type Maker struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256,omitempty"`
	Dev     bool   `json:"dev,omitempty"` // it was being worked on: nothing vouched for it
}

// Repository is where packages are from.
type Repository struct {
	// Mirrors are those that were asked, given or chosen, but for what is of the
	// host and what holds a password.
	Mirrors []string `json:"mirrors,omitempty"`
	// State is the digest of what the plugin said that they held, which is part of
	// the cache's key; empty where it says nothing.
	State string `json:"state,omitempty"`
}

func repositoryOf(mirrors []string, holds map[string]string) *Repository {
	r := &Repository{Mirrors: public(mirrors)}
	if len(holds) > 0 {
		sum := sha256.New()
		for _, name := range slices.Sorted(maps.Keys(holds)) {
			fmt.Fprintf(sum, "%q %q\n", name, holds[name])
		}
		r.State = hex.EncodeToString(sum.Sum(nil))
	}
	return r
}

// public are mirrors that anybody may know of.
func public(mirrors []string) []string {
	return slices.DeleteFunc(slices.Clone(mirrors), func(m string) bool { return strings.Contains(m, "file:") || strings.Contains(m, "@") })
}

// Base is an image that another one was made of.
type Base struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Artifact is one file of an image, by its name beside the manifest.
type Artifact struct {
	Format image.Format `json:"format"`
	File   string       `json:"file"`
	SHA256 string       `json:"sha256"`
	Size   int64        `json:"size"`
}

func (b *build) manifest() Manifest {
	facts := *b.record.Machine().Facts
	facts.Packages = nil
	m := Manifest{
		Version: ManifestVersion, Name: b.Spec.Name, Digest: b.digest, SourceDateEpoch: b.epoch,
		Tool: Maker{Name: "nspawn-build", Version: b.Version}, Base: b.base, Engine: b.engine,
		Distro: b.request.Distro, Release: b.request.Release, Arch: b.request.Architecture,
		Spec: anonymous(b.Spec), Facts: Facts(facts), Packages: listed(b.packages),
	}
	if b.base == nil {
		m.Plugin = &Maker{b.plugin.Name, b.plugin.Description.Version, b.plugin.SHA256, b.plugin.Dev}
		m.Repository = repositoryOf(b.request.Mirrors, b.holds)
	}
	for _, t := range b.tools {
		m.Tools = append(m.Tools, Maker{Name: t.Name, Version: t.Version})
	}
	if b.epoch == 0 {
		m.Created = time.Now().UTC().Format(time.RFC3339)
	}
	for _, t := range b.taken {
		t.Path = filepath.Base(t.Path)
		m.Taken = append(m.Taken, t)
	}
	for _, a := range b.artifacts {
		m.Artifacts = append(m.Artifacts, Artifact{a.Format, filepath.Base(a.Path), a.SHA256, a.Size})
	}
	return m
}

// anonymous is a spec without what is of this host: the places of its files.
func anonymous(s spec.Spec) spec.Spec {
	s.Directory = ""
	if s.Keyring != "" {
		s.Keyring = filepath.Base(s.Keyring)
	}
	s.Customize.Copies = slices.Clone(s.Customize.Copies)
	for i, c := range s.Customize.Copies {
		s.Customize.Copies[i].Source = filepath.Base(c.Source)
	}
	s.Customize.Scripts = slices.Clone(s.Customize.Scripts)
	for i, script := range s.Customize.Scripts {
		s.Customize.Scripts[i] = filepath.Base(script)
	}
	s.Mirrors = public(s.Mirrors)
	return s
}

// describe writes what is beside an image.
func (b *build) describe(ctx context.Context) error {
	slices.SortFunc(b.packages, func(x, y sdk.Package) int {
		return strings.Compare(x.Name+"\x00"+x.Architecture+"\x00"+x.Version, y.Name+"\x00"+y.Architecture+"\x00"+y.Version)
	})
	m := b.manifest()
	sbom, err := SBOM(m)
	if err != nil {
		return err
	}
	lock, err := encode(lockOf(m, time.Now()))
	if err != nil {
		return err
	}
	manifest, err := encode(m)
	if err != nil {
		return err
	}
	for suffix, data := range map[string][]byte{
		suffixManifest: manifest, suffixSBOM: sbom, suffixLock: lock, suffixSums: image.Sums(b.artifacts),
	} {
		if err := os.WriteFile(filepath.Join(b.place.out(), b.Spec.Name+suffix), data, 0o644); err != nil {
			return err
		}
	}
	return b.sums(ctx)
}

// sums writes the sum of each image that is a file, signed where that is asked for.
func (b *build) sums(ctx context.Context) error {
	for _, a := range b.artifacts {
		if !image.Summed(a.Format) {
			continue
		}
		sum := image.Sum(a)
		if b.Image.Sign != "" {
			var signature []byte
			var err error
			if sum, signature, err = (image.Signer{Key: b.Image.Sign}).Sign(ctx, sum); err != nil {
				return fmt.Errorf("signing %s: %w", filepath.Base(a.Path), err)
			}
			if err := os.WriteFile(a.Path+image.SuffixSignature, signature, 0o644); err != nil {
				return err
			}
		}
		if err := os.WriteFile(a.Path+image.SuffixSum, sum, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func encode(v any) ([]byte, error) {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return []byte(out.String()), err
}

// ErrNoManifest says that there is no manifest beside an image.
var ErrNoManifest = errors.New("there is no manifest beside it")

const manifestLimit = 64 << 20

// ReadManifest finds the manifest of an image: the one in its directory that
// names the file.
func ReadManifest(path string) (Manifest, error) {
	dir, base := filepath.Split(filepath.Clean(path))
	if dir == "" {
		dir = "."
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+suffixManifest))
	if err != nil {
		return Manifest{}, err
	}
	for _, name := range found {
		info, err := os.Stat(name)
		if err != nil || info.Size() > manifestLimit || !info.Mode().IsRegular() {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return Manifest{}, err
		}
		var m Manifest
		if json.Unmarshal(data, &m) != nil || m.Version != ManifestVersion {
			continue
		}
		if slices.ContainsFunc(m.Artifacts, func(a Artifact) bool { return a.File == base }) {
			return m, nil
		}
	}
	return Manifest{}, ErrNoManifest
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
