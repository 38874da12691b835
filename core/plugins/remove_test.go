package plugins

import (
	"os"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

func TestOnlyWhatTheLockVouchesForIsRemoved(t *testing.T) {
	s := newStore(t)
	for _, c := range []*candidate{script("fine", "1"), script("changed", "1"), script("gone", "1"), script("swapped", "1")} {
		_, err := s.put(t.Context(), c, Wanted{})
		must(t, err)
	}
	must(t, os.WriteFile(s.path("stray"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.WriteFile(s.path("changed"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.Remove(s.path("gone")))
	must(t, os.Remove(s.path("swapped")))
	must(t, os.Symlink("/etc/passwd", s.path("swapped")))
	for name, words := range map[string]string{
		"changed": "is not the file that was installed", "swapped": "is not the file that was installed",
		"stray": `plugin "stray" is not installed`, "none": "is not installed", "../fine": "is not installed", "": "is not installed",
	} {
		before := snapshot(t, s.Dir)
		_, err := s.Remove(t.Context(), name)
		expect(t, err, map[bool]Kind{true: Taken, false: NotInstalled}[name == "changed" || name == "swapped"], words)
		if snapshot(t, s.Dir) != before {
			t.Errorf("removing %s touched something", name)
		}
	}
	for _, name := range []string{"fine", "gone"} {
		e, err := s.Remove(t.Context(), name)
		must(t, err)
		if e.Source != "/src/1" || e.Distros[0] != name+"-os" {
			t.Errorf("%+v", e)
		}
		if _, err := os.Lstat(s.path(name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	lock, err := pluginhost.ReadLock(s.Dir)
	must(t, err)
	if len(lock.Plugins) != 2 {
		t.Errorf("the lock lists %v", lock.Plugins)
	}
}

func TestVerifySaysWhatIsNotAsItWasInstalled(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"fine", "changed", "gone", "mode", "owner", "link"} {
		_, err := s.put(t.Context(), script(name, "1"), Wanted{})
		must(t, err)
	}
	must(t, os.WriteFile(s.path("stray"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.WriteFile(s.path("changed"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.Remove(s.path("gone")))
	must(t, os.Chmod(s.path("mode"), 0o775))
	must(t, os.Chown(s.path("owner"), 65534, 0))
	must(t, os.Remove(s.path("link")))
	must(t, os.Symlink("/bin/sh", s.path("link")))
	want := map[string]string{
		"fine": "", "changed": "is not the file that was installed", "gone": "is not there, and the lock lists it",
		"mode": "can be written by others", "owner": "belongs to user 65534", "link": "is not the file that was installed",
		"stray": "does not list it",
	}
	checks, err := s.Verify()
	must(t, err)
	if len(checks) != len(want) {
		t.Errorf("%+v", checks)
	}
	for _, c := range checks {
		if words := want[c.Name]; (words == "") != (c.Problem == "") || !strings.Contains(c.Problem, words) || c.Problem != "" && c.Hint == "" {
			t.Errorf("%+v, want %q", c, words)
		}
	}
	if some, err := s.Verify("fine"); err != nil || len(some) != 1 || some[0].Pin.Source != "/src/1" || some[0].SHA256 == "" {
		t.Errorf("%+v, %v", some, err)
	}
	_, err = s.Verify("fine", "none")
	expect(t, err, NotInstalled, `plugin "none" is not installed`)

	must(t, os.Chmod(s.Dir, 0o775))
	checks, err = s.Verify("fine")
	must(t, err)
	if len(checks) == 0 || !strings.Contains(checks[0].Problem, "can be written by others") {
		t.Errorf("of a directory that others can change: %+v", checks)
	}
}
