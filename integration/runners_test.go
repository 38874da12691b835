//go:build integration

package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// roots is the repository by which runners share trees, sharing the flags that
// say so.
const roots = registryName + "/ci/roots"

var sharing = []string{"--cache-from", roots, "--cache-to", roots, "--registry-insecure"}

// pushedImage is what image prints of one that is in a registry.
type pushedImage struct {
	Digest    string
	Artifacts []struct{ Format, SHA256 string }
	Cache     struct {
		Hit         bool
		Key, Reason string
	}
	Pushed []string
}

// TestTheSecondRunnerBuildsNothing is the scenario of a fleet of runners: hosts
// with empty disks, which have nothing in common but a registry.
func TestTheSecondRunnerBuildsNothing(t *testing.T) {
	t.Parallel()
	shared := newRegistry(t)
	runner := func() (*testhost.Host, *asked) {
		o := options(t, testhost.Options{}, arch, fedora) // as other tests have them, so that there is one tree
		o.Sites[registryName] = shared
		mirror := &asked{Handler: o.Sites[arch.site]}
		if mirror.Handler != nil {
			o.Sites[arch.site] = mirror
		}
		h := installFixture(t, testhost.StartDirect(t, o))
		h.WriteFile(t, "/srv/images.yaml", `version: 1
defaults: {image: {format: [tar], source-date-epoch: 1700000000}}
distros: [fixture]
variants:
  - {name: plain, image: {format: [tar, oci]}}
  - {name: web, base: plain, customize: {hook: ["after:network:echo web >/opt/web"]}}
include: [`+arch.source(t, h)+`]
`, "0644")
		return h, mirror
	}
	first, _ := runner()
	second, mirror := runner()
	// What the fixture is made with there fails, so nothing is made by it.
	second.WriteFile(t, "/usr/bin/tar", "#!/bin/sh\nexit 1\n", "0755")

	line := append([]string{"--push", registryName + "/images:7"}, sharing...)
	made := matrix(t, first, exitDone, line...)
	had := matrix(t, second, exitDone, line...)
	if len(made.Jobs) != 3 {
		t.Errorf("%+v", made)
	}
	for _, m := range made.Jobs {
		h := had.job(t, m.Name)
		if h.Status != "done" || h.Image.Digest != m.Image.Digest || len(h.Image.Artifacts) != len(m.Image.Artifacts) {
			t.Errorf("the first has %+v, the second %+v", m.Image, h.Image)
		}
		for i, a := range m.Image.Artifacts {
			if h.Image.Artifacts[i].SHA256 != a.SHA256 {
				t.Errorf("%s: of the first the %s is %s, of the second %s", m.Name, a.Format, a.SHA256, h.Image.Artifacts[i].SHA256)
			}
		}
		if !slices.Equal(h.Image.Pushed, m.Image.Pushed) || (len(m.Image.Pushed) == 1) != (m.Name == "fixture-plain") {
			t.Errorf("%s: the first pushed %q, the second %q", m.Name, m.Image.Pushed, h.Image.Pushed)
		}
		if m.Base != "" {
			continue
		}
		if m.Image.Cache.Hit || !h.Image.Cache.Hit || h.Image.Cache.Key != m.Image.Cache.Key {
			t.Errorf("%s: the first says %+v, the second %+v", m.Name, m.Image.Cache, h.Image.Cache)
		}
		if log := second.ReadFile(t, "/srv/results/"+h.Log); !strings.Contains(log, "from the cache: bootstrapped ") || !strings.Contains(log, ", had from "+roots) {
			t.Errorf("%s: the log does not say where its tree is from: %s", m.Name, log)
		}
	}
	if mirror.Handler != nil {
		if packages, lists := mirror.of(".pkg.tar"), mirror.of(".db"); len(packages) > 0 || len(lists) == 0 {
			t.Errorf("the second had %q of the mirror, and looked at %q", packages, lists)
		}
	}
	// The same by image, of a cache that is empty again.
	want(t, exitDone, second.Run(t, "nspawn-build", "cache", "prune", "--all"))
	byDigest := map[string]bool{}
	for _, h := range []*testhost.Host{first, second} {
		p := push(t, h, "web", "--format", "tar", "--source-date-epoch", "1700000000")
		if plain := made.job(t, "fixture-plain").Image; !p.Cache.Hit || p.Digest != plain.Digest {
			t.Errorf("image says %+v, the matrix has %s", p, plain.Digest)
		}
		byDigest[p.Pushed[0]] = true
	}
	if len(byDigest) != 1 {
		t.Errorf("the runners pushed %v", byDigest)
	}
	if r := second.Run(t, append(imageLine("x", "/srv/x.tar"), "--no-cache")...); r.Exit != exitBootstrap {
		t.Errorf("the second would have built: %s", r)
	}
}

// push builds an image of the fixture and pushes it.
func push(t *testing.T, h *testhost.Host, name string, more ...string) pushedImage {
	t.Helper()
	args := append(imageLine(name, "/srv/"+name+"/", "--format", "oci", "--push", registryName+"/images/"+name+":1.2", "--output", "json"), more...)
	r := want(t, exitDone, h.Run(t, append(args, sharing...)...))
	var p pushedImage
	if err := json.Unmarshal([]byte(r.Stdout), &p); err != nil {
		t.Fatalf("image did not print JSON: %v: %s", err, r)
	}
	if where := registryName + "/images/" + name + "@sha256:" + p.Artifacts[0].SHA256; !slices.Equal(p.Pushed, []string{where}) {
		t.Errorf("it was pushed to %q, and is %s", p.Pushed, where)
	}
	return p
}

// What a registry has under a key may be anything, by accident or not. Who asks
// then builds, says why, and puts what is right in its place.
func TestAPoisonedRegistryMakesNoBadMachine(t *testing.T) {
	t.Parallel()
	shared := newRegistry(t)
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{Sites: map[string]http.Handler{registryName: shared}}))
	box := append(fixture("box", "--no-boot", "--output", "json"), sharing...)
	// again makes the machine as a host does whose disk is empty.
	again := func(more ...string) (c cached, said string) {
		t.Helper()
		want(t, exitDone, h.Run(t, "nspawn-build", "cache", "prune", "--all"))
		r := want(t, exitDone, h.Run(t, append(box, more...)...))
		if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil {
			t.Fatalf("create did not print JSON: %v: %s", err, r)
		}
		return c, r.Stderr
	}
	first, _ := again()
	files := filesOf(t, h, "box")
	destroy(t, h, "box")
	tag := "ci/roots:" + first.Cache.Key
	other, _ := again("--option", "delay=1ms")
	destroy(t, h, "box")

	for _, poison := range []struct {
		name, said string
		do         func(t *testing.T)
	}{
		{"another one's manifest", "what it has under the key is of another", func(t *testing.T) {
			_, image := shared.image(t, "ci/roots:"+other.Cache.Key)
			shared.put(t, tag, image)
		}},
		{"its own manifest, of another tree", "it is of the tree ", func(t *testing.T) { shared.swap(t, tag, evil(t)) }},
		{"a tree that is gone", "BLOB_UNKNOWN", func(t *testing.T) {
			if err := os.Remove(shared.layer(t, tag)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a tree that was changed where it is kept", "import a tree into the cache: ", func(t *testing.T) {
			layer := shared.layer(t, tag)
			content, err := os.ReadFile(layer)
			if err != nil {
				t.Fatal(err)
			}
			content[len(content)/2] ^= 1
			if err := os.WriteFile(layer, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(poison.name, func(t *testing.T) {
			poison.do(t)
			c, said := again()
			if c.Cache.Hit || !strings.Contains(said, roots+" is of no use: ") || !strings.Contains(said, poison.said) || !strings.Contains(c.Cache.Reason, roots+" is of no use: ") {
				t.Errorf("it is %+v and says %s", c.Cache, said)
			}
			if got := filesOf(t, h, "box"); got != files {
				t.Errorf("another machine was made: %s and not %s", got, files)
			}
			if all := kept(t, h); len(all) != 1 || all[0].Tree != c.Cache.Tree {
				t.Errorf("kept are %+v", all)
			}
			if left := h.MustRun(t, "sh", "-c", "ls -A "+rootsDirectory+" | grep '^\\.' || true"); left != "" {
				t.Errorf("this is left: %s", left)
			}
			_, image := shared.image(t, tag)
			if config, err := image.RawConfigFile(); err != nil || !strings.Contains(string(config), c.Cache.Tree) {
				t.Errorf("the registry has %.300s: %v", config, err)
			}
			destroy(t, h, "box")
		})
	}
	if c, said := again(); !c.Cache.Hit || filesOf(t, h, "box") != files {
		t.Errorf("in the end it is %+v and says %s", c.Cache, said)
	}
	destroy(t, h, "box")
}

// evil is a layer with a tree that nobody bootstrapped.
func evil(t *testing.T) v1.Layer {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "evil"), []byte("evil\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "evil.tar.zst")
	output(t, "tar", "--zstd", "--create", "--file", file, "--directory", root, ".")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(content, "application/vnd.nspawn-build.rootfs.tar+zstd")
}

// swap gives the image of a tag another layer, and leaves its configuration.
func (r *registryHost) swap(t *testing.T, ref string, layer v1.Layer) {
	t.Helper()
	tag, image := r.image(t, ref)
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	manifest = manifest.DeepCopy()
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layer.Size()
	if err != nil {
		t.Fatal(err)
	}
	manifest.Layers[0].Digest, manifest.Layers[0].Size = digest, size
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteLayer(tag.Context(), layer, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(tag, rawManifest(text), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// rawManifest is a manifest as it is to be put.
type rawManifest []byte

// RawManifest implements remote.Taggable.
func (m rawManifest) RawManifest() ([]byte, error) { return m, nil }

// MediaType is what it is put as.
func (rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// What was pushed is what another tool pulls, and it boots.
func TestAPushedImageIsPulledByAnotherToolAndBoots(t *testing.T) {
	t.Parallel()
	testhost.Require(t, "skopeo", "umoci")
	shared := newRegistry(t)
	h := installFixture(t, testhost.Start(t, testhost.Options{Sites: map[string]http.Handler{registryName: shared}}))
	p := push(t, h, "web", "--hook", "after:network:echo web >/opt/web")
	digest := strings.TrimPrefix(p.Pushed[0], registryName+"/images/web@")
	layout := filepath.Join(t.TempDir(), "layout")
	if got := output(t, "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+shared.loopback+"/images/web:1.2"); got != digest {
		t.Errorf("skopeo finds %s under the tag, and we pushed %s", got, digest)
	}
	output(t, "skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "docker://"+shared.loopback+"/images/web@"+digest, "oci:"+layout+":"+image.Tag)
	bundle := filepath.Join(t.TempDir(), "bundle")
	output(t, "umoci", "unpack", "--image", layout+":"+image.Tag, bundle)
	copyTree(t, h, filepath.Join(bundle, "rootfs"), "pulled")
	if got := h.ReadFile(t, "/var/lib/machines/pulled/opt/web"); got != "web\n" {
		t.Errorf("it has %q", got)
	}
	bootsImage(t, h, "pulled")
}
