package pluginhost

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func TestListSaysOfEveryPluginWhatItIsOrWhyItIsNotUsed(t *testing.T) {
	h := newHost(t)
	first, second := filepath.Dir(install(t)), filepath.Dir(installScript(t))
	must(t, os.WriteFile(first+"/"+sdk.BinaryPrefix+"stray", []byte("#!/bin/sh\n"), 0o755)) //nolint:gosec // a program
	must(t, os.WriteFile(first+"/README", nil, 0o600))
	must(t, os.WriteFile(first+"/"+sdk.BinaryPrefix+"_", nil, 0o600))
	h.Directories = []string{"/nonexistent", first, second}
	found, err := h.List(t.Context())
	must(t, err)
	type row struct{ path, version, distro, err string }
	var got []row
	for _, l := range found {
		r := row{path: l.Path, version: l.Description.Version}
		if len(l.Description.Distros) > 0 {
			r.distro = l.Description.Distros[0].Name
		}
		if l.Err != nil {
			r.err, _, _ = strings.Cut(strings.TrimPrefix(l.Err.Error(), l.Path+" is not used: "), ":")
		}
		if l.Err == nil && len(l.SHA256) != 64 {
			t.Errorf("%s has sha256 %q", l.Path, l.SHA256)
		}
		got = append(got, r)
	}
	good := "/" + sdk.BinaryPrefix + "good"
	want := []row{
		{first + good, "1.0.0", "good-os", ""},
		{first + "/" + sdk.BinaryPrefix + "stray", "", "", first + "/plugins.lock does not list it"},
		{second + good, "", "", first + good + " is used instead"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestADistroBelongsToOnePlugin(t *testing.T) {
	h := newHost(t)
	l, err := h.ForDistro(t.Context(), "good-os")
	if err != nil || l.Name != "good" || l.Description.Distros[0].DefaultRelease != "1" {
		t.Errorf("good-os: %+v, %v", l, err)
	}
	_, err = h.ForDistro(t.Context(), "plan9")
	if !errors.Is(err, ErrNoPlugin) || !strings.Contains(err.Error(), `distro "plan9": no plugin makes it; there are plugins for: `) ||
		!strings.Contains(err.Error(), "good-os, ") {
		t.Errorf("plan9: %v", err)
	}
	// That there is none would be no help: the one that made it is broken.
	_, err = h.ForDistro(t.Context(), "liar-os")
	if errors.Is(err, ErrNoPlugin) || !errors.Is(err, ErrProtocol) {
		t.Errorf("liar-os: %v", err)
	}
}

func TestTwoPluginsThatClaimADistroAreBothNamed(t *testing.T) {
	h := newHost(t)
	one := install(t)
	dir := filepath.Dir(one)
	two := filepath.Join(dir, sdk.BinaryPrefix+"twin")
	must(t, copyFile(one, two))
	must(t, WriteLock(t.Context(), dir, filepath.Join(dir, lockName)))
	h.Directories = []string{dir}
	_, err := h.ForDistro(t.Context(), "good-os")
	var ambiguous *AmbiguousError
	if !errors.As(err, &ambiguous) || !strings.Contains(err.Error(), "good-os is claimed by more than one plugin: "+one+" and "+two) {
		t.Errorf("got %v", err)
	}
}

func TestAPluginThatIsNotLockedIsMentionedWhenItsDistroIsAskedFor(t *testing.T) {
	h := newHost(t)
	path := install(t)
	must(t, os.Remove(filepath.Join(filepath.Dir(path), lockName)))
	h.Directories = []string{filepath.Dir(path)}
	_, err := h.ForDistro(t.Context(), "good-os")
	var refused *RefusedError
	if !errors.Is(err, ErrNoPlugin) || !errors.As(err, &refused) || !strings.Contains(refused.Hint, "plugin install "+path) {
		t.Errorf("got %v", err)
	}
}

func TestTheLockFileSaysWhatThePluginSays(t *testing.T) {
	path := install(t)
	dir := filepath.Dir(path)
	read := func() Lock {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(dir, lockName)) //nolint:gosec // a test's own
		must(t, err)
		var lock Lock
		must(t, json.Unmarshal(content, &lock))
		return lock
	}
	lock := read()
	entry := lock.Plugins["good"]
	entry.SHA256 = ""
	want := Entry{Path: filepath.Base(path), Version: "1.0.0", Distros: []string{"good-os"}}
	if diff := cmp.Diff(want, entry); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if got := Distros([]string{t.TempDir(), dir}); len(got) != 1 || got[0] != "good-os" {
		t.Errorf("the distros are %q", got)
	}

	// One that is added does not vouch again for the others.
	must(t, copyFile(path, filepath.Join(dir, sdk.BinaryPrefix+"wait")))
	must(t, os.WriteFile(path, []byte("tampered with"), 0o755)) //nolint:gosec // a program
	must(t, WriteLock(t.Context(), dir, filepath.Join(dir, lockName), "wait"))
	after := read()
	if after.Plugins["good"].SHA256 != lock.Plugins["good"].SHA256 {
		t.Error("adding a plugin vouched for another one that was tampered with")
	}
	if after.Plugins["wait"].SHA256 != lock.Plugins["good"].SHA256 {
		t.Error("the plugin was not added")
	}
	if err := WriteLock(t.Context(), dir, filepath.Join(dir, lockName), "none"); err == nil {
		t.Error("a plugin that is not there was vouched for")
	}
	info, err := os.Stat(filepath.Join(dir, lockName))
	must(t, err)
	if info.Mode().Perm() != 0o644 {
		t.Errorf("the lock file has mode %o", info.Mode().Perm())
	}
}

func TestALockFileElsewhereVouchesForAllDirectories(t *testing.T) {
	h := newHost(t)
	path := install(t)
	dir := filepath.Dir(path)
	must(t, os.Remove(filepath.Join(dir, lockName)))
	h.Lock = filepath.Join(filepath.Dir(dir), "elsewhere.lock")
	must(t, WriteLock(t.Context(), dir, h.Lock))
	h.Directories = []string{dir}
	if _, err := h.ForDistro(t.Context(), "good-os"); err != nil {
		t.Error(err)
	}
}
