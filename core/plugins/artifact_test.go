package plugins

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// registryOf runs a registry on loopback, between which and its clients is
// meddle, and returns the name of a repository in it.
func registryOf(t *testing.T, meddle func(http.ResponseWriter, *http.Request, http.Handler)) string {
	t.Helper()
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if meddle != nil {
			meddle(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return scheme + strings.TrimPrefix(server.URL, "http://") + "/plugins/made"
}

// pushTo pushes a plugin for this architecture.
func (s *Store) pushTo(t *testing.T, ref, name string, content []byte, by *signer) string {
	t.Helper()
	path := file(t, name, content)
	if by != nil {
		by.sign(t, path)
	}
	digest, err := s.Push(t.Context(), []Program{{Arch: runtime.GOARCH, Path: path}}, ref)
	must(t, err)
	return digest
}

func TestAPluginIsPushedInstalledAndUpdatedByARegistry(t *testing.T) {
	s := newStore(t)
	maker := newSigner(t)
	repository := registryOf(t, nil)
	one := program(t, says{Distros: []string{"an-os", "old-os"}, Options: []string{"color"}})
	// The other architecture's is not ours to run.
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	machine := map[string]uint16{"arm64": 183, "amd64": 62}[other]
	path := file(t, "made", one)
	maker.sign(t, path)
	digest, err := s.Push(t.Context(), []Program{{Path: path}, {Arch: other, Path: file(t, "made", elfFor(machine))}}, repository+":1")
	must(t, err)
	if !strings.HasPrefix(digest, repository+"@sha256:") {
		t.Errorf("it is pushed as %s", digest)
	}
	done := s.install(t, Wanted{Source: repository + ":1", Key: maker.key(t)})
	if done.Name != "made" || done.Source != repository+":1" || repository+"@"+done.Digest != digest || done.SHA256 != digestOf(one) || done.Signer == "" {
		t.Errorf("%+v", done)
	}
	if again := s.install(t, Wanted{Source: repository + ":1"}); again.Changed {
		t.Errorf("the same again: %+v", again)
	}
	u, err := s.Ask(t.Context(), "made")
	must(t, err)
	if u.Current == "" || len(u.Changes) > 0 {
		t.Errorf("nothing is new: %+v", u)
	}
	if _, err := s.Apply(t.Context(), u); err == nil {
		t.Error("nothing was applied")
	}

	two := program(t, says{Version: "1.10.0", Distros: []string{"an-os", "new-os"}, Releases: []string{"2", "1"}, Options: []string{"size"}, Features: []string{"snapshot"}})
	second := s.pushTo(t, repository+":1", "made", two, &maker)
	before := snapshot(t, s.Dir)
	u, err = s.Ask(t.Context(), "made")
	must(t, err)
	want := []string{
		"version 1.0.0 → 1.10.0",
		"sha256 " + digestOf(one) + " → " + digestOf(two),
		"digest " + done.Digest + " → " + strings.TrimPrefix(second, repository+"@"),
		"distros +new-os -old-os", "releases of an-os +2", "default release of an-os 1 → 2",
		"options +size -color", "features +snapshot",
	}
	if got := strings.Join(u.Changes, "\n"); got != strings.Join(want, "\n") || u.Current != "" {
		t.Errorf("%+v changes\n%s", u, got)
	}
	if snapshot(t, s.Dir) != before {
		t.Error("asking has changed something")
	}
	now, err := s.Apply(t.Context(), u)
	must(t, err)
	if now.Version != "1.10.0" || now.SHA256 != digestOf(two) || now.Signer != done.Signer || !now.Changed {
		t.Errorf("%+v", now)
	}
	if l, err := s.Host.ForDistro(t.Context(), "new-os"); err != nil || l.SHA256 != digestOf(two) {
		t.Errorf("%+v, %v", l, err)
	}

	// What is pinned stays; what is older is said to be.
	s.install(t, Wanted{Source: digest, Replace: true})
	if u, err = s.Ask(t.Context(), "made"); err != nil || !strings.Contains(u.Current, "pinned to a digest") {
		t.Errorf("%+v, %v", u, err)
	}
	s.install(t, Wanted{Source: repository + ":1", Replace: true})
	s.pushTo(t, repository+":1", "made", one, &maker)
	u, err = s.Ask(t.Context(), "made")
	must(t, err)
	if len(u.Changes) == 0 || u.Changes[0] != "version 1.10.0 → 1.0.0 (older)" {
		t.Errorf("%+v", u)
	}
	s.pushTo(t, repository+":1", "other", one, &maker)
	_, err = s.Ask(t.Context(), "made")
	expect(t, err, Unfit, "has the other plugin now, not made")
}

func TestAnUpdateOfAFileComesFromItsPath(t *testing.T) {
	s := newStore(t)
	path := file(t, "made", program(t, says{Distros: []string{"an-os"}}))
	s.install(t, Wanted{Source: path})
	if u, err := s.Ask(t.Context(), "made"); err != nil || u.Current == "" {
		t.Errorf("%+v, %v", u, err)
	}
	must(t, os.WriteFile(path, program(t, says{Version: "2.0.0", Distros: []string{"an-os"}}), 0o644))
	u, err := s.Ask(t.Context(), "made")
	must(t, err)
	// What is applied is what was shown, whatever the path has by then.
	must(t, os.WriteFile(path, []byte("another by now"), 0o644))
	if done, err := s.Apply(t.Context(), u); err != nil || done.Version != "2.0.0" {
		t.Errorf("%+v, %v", done, err)
	}
	must(t, os.WriteFile(s.path("made"), []byte("tampered with"), 0o755))
	_, err = s.Ask(t.Context(), "made")
	expect(t, err, 0, "it is not the file that was installed")

	must(t, os.WriteFile(s.path("house"), []byte("#!/bin/sh\n"), 0o755))
	must(t, pluginhost.WriteLock(t.Context(), s.Dir, s.Dir+"/plugins.lock", "house"))
	if u, err := s.Ask(t.Context(), "house"); err != nil || !strings.Contains(u.Current, "make install") {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = s.Ask(t.Context(), "none")
	expect(t, err, NotInstalled, "is not installed")
}

// artifact is one that is made to be wrong.
type artifact struct {
	kind       types.MediaType // of the manifest
	typ        string
	layer      types.MediaType
	title      string
	size       int64 // 0 is right
	extraLayer bool
	index      func(*v1.IndexManifest)
}

// upload puts a wrong artifact into a registry and returns its name.
func (a artifact) upload(t *testing.T, repository string) string {
	t.Helper()
	put := func(path, kind string, content []byte) {
		t.Helper()
		server, rest, _ := strings.Cut(strings.TrimPrefix(repository, scheme), "/")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+server+"/v2/"+rest+"/"+path, bytes.NewReader(content))
		must(t, err)
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", path, resp.Status)
		}
	}
	content := []byte("#!/bin/sh\nexit 0\n")
	layer := descriptorOf(content, or(a.layer, binaryType))
	put("blobs/uploads/1?digest="+layer.Digest.String(), "application/octet-stream", content)
	layer.Annotations = map[string]string{titleNote: or(a.title, pluginhost.FileOf("made"))}
	if a.size != 0 {
		layer.Size = a.size
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: or(a.kind, types.OCIManifestSchema1), ArtifactType: or(a.typ, artifactType), Config: descriptorOf(emptyConfig, emptyType), Layers: []v1.Descriptor{layer}}
	put("blobs/uploads/1?digest="+m.Config.Digest.String(), "application/octet-stream", emptyConfig)
	if a.extraLayer {
		m.Layers = append(m.Layers, layer)
	}
	raw, err := json.Marshal(m)
	must(t, err)
	tag, kind := "wrong", or(a.kind, types.OCIManifestSchema1)
	if a.index == nil {
		put("manifests/"+tag, string(kind), raw)
		return repository + ":" + tag
	}
	d := descriptorOf(raw, kind)
	put("manifests/"+d.Digest.String(), string(kind), raw)
	d.Platform = &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}}
	a.index(&index)
	raw, err = json.Marshal(index)
	must(t, err)
	put("manifests/"+tag, string(types.OCIImageIndex), raw)
	return repository + ":" + tag
}

func or[T ~string](a, otherwise T) T {
	if a == "" {
		return otherwise
	}
	return a
}

func TestAnArtifactThatIsWrongIsRefused(t *testing.T) {
	s := newStore(t)
	repository := registryOf(t, nil)
	for what, c := range map[string]struct {
		artifact artifact
		words    string
	}{
		"an image of a container":     {artifact{kind: types.DockerManifestSchema2}, "is not a plugin: it is of type \"application/vnd.docker"},
		"an artifact of another kind": {artifact{typ: "application/vnd.example.chart"}, `is not a plugin: it is of type "application/vnd.example.chart"`},
		"a layer of another kind":     {artifact{layer: types.OCILayer}, "has not one layer that is a plugin's program"},
		"two layers":                  {artifact{extraLayer: true}, "has not one layer that is a plugin's program"},
		"a program that is too large": {artifact{size: MaxSize + 1}, "and at most"},
		"a size that is none":         {artifact{size: -1}, "its program has -1 bytes"},
		"a program that is shorter":   {artifact{size: 100}, "other than the 100 bytes that its manifest says"},
		"a program that is longer":    {artifact{size: 5}, "other than the 5 bytes that its manifest says"},
		"another title":               {artifact{title: "../../etc/passwd"}, "does not say which plugin it is"},
		"a title with escapes":        {artifact{title: "nspawn-build-plugin-\x1b[31m"}, "does not say which plugin it is"},
		"nothing for this machine": {
			artifact{index: func(i *v1.IndexManifest) { i.Manifests[0].Platform.Architecture = "s390x\x1b[1m" }},
			"has nothing for linux/" + runtime.GOARCH + `, only for ["linux/s390x`,
		},
		"nothing that says for which": {artifact{index: func(i *v1.IndexManifest) { i.Manifests[0].Platform = nil }}, "has nothing for linux/"},
		"two for this machine":        {artifact{index: func(i *v1.IndexManifest) { i.Manifests = append(i.Manifests, i.Manifests[0]) }}, "has 2 programs for linux/"},
		"an index of another kind":    {artifact{index: func(i *v1.IndexManifest) { i.ArtifactType = "application/vnd.example.chart" }}, "is not a plugin"},
		"an index in an index":        {artifact{index: func(i *v1.IndexManifest) { i.Manifests[0].MediaType = types.OCIImageIndex }}, "not a manifest"},
		"an index without end": {artifact{index: func(i *v1.IndexManifest) {
			for range 100 {
				i.Manifests = append(i.Manifests, i.Manifests[0])
			}
		}}, "which are too many"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := s.Install(t.Context(), Wanted{Source: c.artifact.upload(t, repository)})
			expect(t, err, 0, c.words)
			expectUntouched(t, s, err)
		})
	}
	for ref, words := range map[string]string{
		repository: "is not the name of an artifact", scheme: "is not the name", repository + ":none": "fetching ",
		scheme + "192.168.7.7/x:1":                            "would be reached without TLS",
		repository + "@sha256:" + strings.Repeat("0", 64):     "fetching ",
		strings.Replace(repository, "/plugins", "/../x", 1):   "is not the name of an artifact",
		strings.Replace(repository, "127.0.0.1", "user@x", 1): "is not the name of an artifact",
	} {
		_, err := s.Install(t.Context(), Wanted{Source: ref})
		expect(t, err, 0, words)
		expectUntouched(t, s, err)
	}
}

// expectUntouched fails if there is a directory, or an error without its kind.
func expectUntouched(t *testing.T, s *Store, err error) {
	t.Helper()
	if _, serr := os.Stat(s.Dir); serr == nil {
		t.Error("the directory was made for nothing")
	}
	expect(t, err, map[bool]Kind{true: Unreachable, false: Unfit}[strings.Contains(err.Error(), "fetching ") && !strings.Contains(err.Error(), "is not fetched")], "")
	if strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q has escapes", err)
	}
}

// changed is an answer whose body is changed on its way.
type changed struct {
	http.ResponseWriter
	change func([]byte) []byte
}

func (w changed) Write(p []byte) (int, error) {
	_, err := w.ResponseWriter.Write(w.change(bytes.Clone(p)))
	return len(p), err
}

func TestARegistryThatMeansHarmGetsNothingInstalled(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "from elsewhere")
	}))
	t.Cleanup(elsewhere.Close)
	isBlob := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
	}
	isManifest := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/")
	}
	for what, c := range map[string]struct {
		meddle func(w http.ResponseWriter, r *http.Request, inner http.Handler)
		words  string
	}{
		"another program than the manifest says": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isBlob(r) {
				w = changed{w, func(p []byte) []byte { p[len(p)/2] ^= 1; return p }}
			}
			inner.ServeHTTP(w, r)
		}, "error verifying sha256 checksum"},
		"another manifest than the index says": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isManifest(r) && strings.Contains(r.URL.Path, "sha256:") {
				w = changed{w, func(p []byte) []byte { return bytes.Replace(p, []byte("schema"), []byte("Schema"), 1) }}
			}
			inner.ServeHTTP(w, r)
		}, "does not match requested digest"},
		"a manifest without end": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if !isManifest(r) {
				inner.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			for range 64 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
					return
				}
			}
		}, "its index cannot be read"},
		"a program without end": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if !isBlob(r) {
				inner.ServeHTTP(w, r)
				return
			}
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
					return
				}
			}
		}, "fetching "},
		"a manifest from elsewhere": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isManifest(r) {
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			inner.ServeHTTP(w, r)
		}, "a manifest is its own to give"},
		"a program from elsewhere without TLS": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isBlob(r) {
				http.Redirect(w, r, "http://registry.example.org/secret", http.StatusTemporaryRedirect)
				return
			}
			inner.ServeHTTP(w, r)
		}, "http://registry.example.org is not fetched: that would be without TLS"},
		"redirects in a circle": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isBlob(r) {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			inner.ServeHTTP(w, r)
		}, "is not fetched: there are too many redirects"},
		"silence": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isManifest(r) {
				<-r.Context().Done()
				return
			}
			inner.ServeHTTP(w, r)
		}, "has sent nothing for"},
		"silence amid a program": {func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isBlob(r) {
				w.Header().Set("Content-Length", "17")
				_, _ = w.Write([]byte("#!"))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			inner.ServeHTTP(w, r)
		}, "has sent nothing for"},
		"no entry": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusForbidden)
		}, "fetching "},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStore(t)
			s.Registry.Patience = 500 * time.Millisecond
			meddling := false
			repository := registryOf(t, func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
				if meddling {
					c.meddle(w, r, inner)
				} else {
					inner.ServeHTTP(w, r)
				}
			})
			ref := artifact{index: func(*v1.IndexManifest) {}}.upload(t, repository)
			meddling = true
			_, err := s.Install(t.Context(), Wanted{Source: ref})
			expect(t, err, 0, c.words)
			if what == "a manifest without end" {
				return // it is cut off, and then wrong like any other
			}
			expectUntouched(t, s, err)
		})
	}
}
