//go:build integration

package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// TestAHostWithoutSourcesLeavesTheMirrorToTheTool is about hosts that are not
// Debian. Security updates have to be found there too.
func TestAHostWithoutSourcesLeavesTheMirrorToTheTool(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{engineMmdebstrap, engineDebootstrap} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			stranger := thisHost()
			stranger.Root = without{stranger.Root, "etc/apt"}
			var recorder sdktest.Recorder
			facts, err := (&plugin{host: stranger}).Bootstrap(context.Background(), req, &recorder)
			if err != nil {
				t.Fatalf("%+v\n%s", err, strings.Join(recorder.Lines(), "\n"))
			}
			checkTree(t, req, facts)
			checkReport(t, &recorder)
		})
	}
}

// without is a host that lacks a directory.
type without struct {
	fs.FS

	name string
}

func (w without) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, w.name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return w.FS.Open(name)
}

func TestTheNextMirrorIsTriedWithTheUsersOwnKeysWhichEndUpInTheMachine(t *testing.T) {
	t.Parallel()
	own := thisHost().archive("debian")
	if own.URI == "" {
		t.Skip("this host is not Debian, so there is no mirror to use with the keys")
	}
	for _, engine := range []string{engineMmdebstrap, engineDebootstrap} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			keys, err := os.ReadFile("/usr/share/keyrings/debian-archive-keyring.gpg")
			if err != nil {
				t.Fatal(err)
			}
			req.Keyring = filepath.Join(filepath.Dir(req.Target), "own.gpg")
			if err := os.WriteFile(req.Keyring, keys, 0o600); err != nil {
				t.Fatal(err)
			}
			req.Mirrors = []string{"http://127.0.0.1:1/debian", own.URI, own.Security}
			req.Packages = []string{"netbase"}
			_, recorder, err := bootstrap(t, req)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if !slices.ContainsFunc(recorder.Warnings(), func(w string) bool { return strings.Contains(w, "127.0.0.1:1") }) {
				t.Errorf("nothing was said of the first mirror: %q", recorder.Warnings())
			}
			inside, err := os.ReadFile(filepath.Join(req.Target, "etc/apt/keyrings/nspawn-build-debian.gpg"))
			if err != nil || !bytes.Equal(inside, keys) {
				t.Errorf("the keys in the machine are %d bytes, %v", len(inside), err)
			}
			sources, err := os.ReadFile(filepath.Join(req.Target, "etc/apt/sources.list.d/debian.sources"))
			if err != nil || strings.Count(string(sources), "Signed-By: /etc/apt/keyrings/nspawn-build-debian.gpg\n") != 2 {
				t.Errorf("the sources are %q, %v", sources, err)
			}
			apt := exec.Command("chroot", req.Target, "apt-get", "update", "--error-on=any", "-oDir::Etc::SourceList=/dev/null", "-oDir::Etc::SourceParts=/dev/null")
			if out, err := apt.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
