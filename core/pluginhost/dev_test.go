package pluginhost

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// develop puts a copy of the good plugin into a directory of its own, without a
// lock, under a name that says nothing.
func develop(t *testing.T) (path string) {
	t.Helper()
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "clone")
	must(t, os.Mkdir(dir, 0o755))
	path = filepath.Join(dir, "a.out")
	must(t, copyFile(listing("good").Path, path))
	return path
}

func TestAPluginInDevelopmentGoesBeforeWhatIsInstalled(t *testing.T) {
	h := newHost(t)
	path := develop(t)
	h.Dev = []DevPlugin{{Name: "good", Path: path}}
	l, err := h.ForDistro(t.Context(), "good-os")
	must(t, err)
	if l.Path != path || !l.Dev || l.SHA256 == "" || l.Pin != (Pin{}) {
		t.Errorf("%+v", l)
	}
	found, err := h.Examine()
	must(t, err)
	for _, other := range found {
		if other.Name == "good" && !other.Dev && !Hidden(other.Err) {
			t.Errorf("the installed one is used as well: %+v", other)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside it there is %v, %v", entries, err)
	}

	// Without the flag nobody runs it, whoever still has its listing.
	h.Dev = nil
	if _, err := h.Start(t.Context(), l, Grants{}); err == nil || !strings.Contains(err.Error(), "not one of those that are being worked on") {
		t.Errorf("it is run without being named: %v", err)
	}
	if l, err := h.ForDistro(t.Context(), "good-os"); err != nil || l.Dev {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestAPluginInDevelopmentIsItsDevelopersAlone(t *testing.T) {
	const me, other = 1234, 65534
	for what, c := range map[string]struct {
		spoil func(path string) error
		words string // "" means that it is run
	}{
		"root's":                 {func(string) error { return nil }, ""},
		"the developer's":        {func(p string) error { return errors.Join(os.Chown(p, me, me), os.Chown(filepath.Dir(p), me, me)) }, ""},
		"somebody else's":        {func(p string) error { return os.Chown(p, other, 0) }, "belongs to user 65534"},
		"in somebody else's":     {func(p string) error { return os.Chown(filepath.Dir(p), other, 0) }, "belongs to user 65534"},
		"writable by the group":  {func(p string) error { return os.Chmod(p, 0o775) }, "can be written by others"},
		"in what others write":   {func(p string) error { return os.Chmod(filepath.Dir(p), 0o777) }, "can be written by others"},
		"not executable":         {func(p string) error { return os.Chmod(p, 0o644) }, "is not executable"},
		"not there":              {os.Remove, "no such file"},
		"a link to the real one": {func(p string) error { return errors.Join(os.Rename(p, p+".real"), os.Symlink("a.out.real", p)) }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			path := develop(t)
			must(t, c.spoil(path))
			h := &Host{Dev: []DevPlugin{{Name: "good", Path: path, Owner: me}}}
			found, err := h.Examine()
			must(t, err)
			switch err := found[0].Err; {
			case c.words == "" && err != nil:
				t.Error(err)
			case c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)):
				t.Errorf("got %v, want %q", err, c.words)
			}
		})
	}
}

func TestAPluginIsTriedWithoutBeingAnywhere(t *testing.T) {
	h := newHost(t)
	content, err := os.ReadFile(listing("good").Path)
	must(t, err)
	d, err := h.Try(t.Context(), "good", "there", content)
	must(t, err)
	if d.Name != "good" || d.Distros[0].Name != "good-os" {
		t.Errorf("%+v", d)
	}
	_, err = h.Try(t.Context(), "liar", "there", content)
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("under another name: %v", err)
	}
	_, err = h.Try(t.Context(), "script", "there", []byte("#!/bin/sh\nexit 7\n"))
	if !errors.Is(err, ErrPluginDied) {
		t.Errorf("a script: %v", err)
	}
	f, err := sealed("x", []byte("content"))
	must(t, err)
	defer f.Close()
	if w, err := os.OpenFile(reference(f), os.O_WRONLY, 0); err == nil {
		if _, err := w.WriteString("changed"); err == nil {
			t.Error("what is tried can be changed")
		}
		_ = w.Close()
	}
}

func TestBothAreVouchedForWhileOneReplacesTheOther(t *testing.T) {
	path := installScript(t)
	dir := filepath.Dir(path)
	lock, err := ReadLock(dir)
	must(t, err)
	old := lock.Plugins["good"]
	next := Entry{Path: old.Path, Version: "2"}
	must(t, os.WriteFile(path+".new", []byte("#!/bin/sh\nexit 4\n"), 0o755))
	next.SHA256, err = hashOf(path + ".new")
	must(t, err)
	old.Version, old.Next = "1", &next
	lock.Plugins["good"] = old
	must(t, lock.Write(dir))
	for _, want := range []string{"1", "2"} {
		b, err := (&Host{}).verify(path)
		must(t, err)
		if b.entry.Version != want {
			t.Errorf("it is taken for %q, want %q", b.entry.Version, want)
		}
		b.close()
		if want == "1" {
			must(t, os.Rename(path+".new", path))
		}
	}
	must(t, os.WriteFile(path, []byte("#!/bin/sh\nexit 5\n"), 0o755))
	if _, err := (&Host{}).verify(path); err == nil {
		t.Error("a third is run")
	}
	// One that is new is vouched for by what it becomes alone.
	lock.Plugins["good"] = Entry{Path: old.Path, Next: &next}
	must(t, lock.Write(dir))
	must(t, os.WriteFile(path, nil, 0o755))
	if _, err := (&Host{}).verify(path); err == nil {
		t.Error("an empty digest vouches for something")
	}
}

func TestNamesAreThoseOfPluginsOnly(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{sdk.BinaryPrefix + "b", sdk.BinaryPrefix + "a", sdk.BinaryPrefix + "_", "plugins.lock", "a"} {
		must(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
	}
	if got := strings.Join(Names([]string{dir, "/nonexistent", dir}), " "); got != "a b" {
		t.Errorf("got %q", got)
	}
}

func TestOwnersAndModesAreCheckedAtEveryStart(t *testing.T) {
	h := newHost(t)
	path := install(t)
	dir := filepath.Dir(path)
	lock := filepath.Join(dir, lockName)
	h.Directories = []string{dir}
	l, err := h.ForDistro(t.Context(), "good-os")
	must(t, err)
	start := func() error {
		s, err := h.Start(t.Context(), l, Grants{})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	for what, c := range map[string]struct{ spoil, mend func() error }{
		"the program's mode":   {func() error { return os.Chmod(path, 0o775) }, func() error { return os.Chmod(path, 0o755) }},
		"the program's owner":  {func() error { return os.Chown(path, 65534, 0) }, func() error { return os.Chown(path, 0, 0) }},
		"the directory's mode": {func() error { return os.Chmod(dir, 0o757) }, func() error { return os.Chmod(dir, 0o755) }},
		"the lock's mode":      {func() error { return os.Chmod(lock, 0o666) }, func() error { return os.Chmod(lock, 0o644) }},
		"that it is listed":    {func() error { return os.Rename(lock, lock+".aside") }, func() error { return os.Rename(lock+".aside", lock) }},
	} {
		must(t, c.spoil())
		var refused *RefusedError
		if err := start(); !errors.As(err, &refused) {
			t.Errorf("%s is not looked at when it is started: %v", what, err)
		}
		must(t, c.mend())
		if err := start(); err != nil {
			t.Errorf("%s is as it was, and it is not run: %v", what, err)
		}
	}
}
