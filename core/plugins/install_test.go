package plugins

import (
	"bytes"
	bytesof "encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

func TestAnInstalledPluginIsPinnedAndRuns(t *testing.T) {
	s := newStore(t)
	content := program(t, says{Distros: []string{"one", "another"}})
	path := file(t, "made", content)
	done := s.install(t, Wanted{Source: path, SHA256: digestOf(content)})
	if !done.Changed || done.Name != "made" || done.SHA256 != digestOf(content) || done.Source != path || done.Version != "1.0.0" {
		t.Errorf("%+v", done)
	}
	info, err := os.Stat(done.Path)
	must(t, err)
	st, _ := info.Sys().(*syscall.Stat_t)
	if info.Mode() != 0o755 || st == nil || st.Uid != 0 {
		t.Errorf("the file has mode %v, and is %+v", info.Mode(), st)
	}
	l, err := s.Host.ForDistro(t.Context(), "another")
	must(t, err)
	if l.Path != done.Path || l.Pin.Source != path || l.Pin.Installed.IsZero() || !slices.Equal(l.Distros(), []string{"one", "another"}) {
		t.Errorf("%+v", l)
	}
	before := snapshot(t, s.Dir)
	if again := s.install(t, Wanted{Source: path}); again.Changed || snapshot(t, s.Dir) != before {
		t.Errorf("the same again changes something: %+v", again)
	}
	must(t, os.Chmod(done.Path, 0o777))
	again := s.install(t, Wanted{Source: path})
	if info, err = os.Stat(done.Path); err != nil || info.Mode() != 0o755 || !again.Changed {
		t.Errorf("a mode is not mended: %v, %v, %+v", info, err, again)
	}
}

// elfFor is a program for another machine.
func elfFor(machine uint16) []byte {
	var header bytes.Buffer
	header.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, field := range []any{
		uint16(2), machine, uint32(1), uint64(0x1000), uint64(64), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(0), uint16(64), uint16(0), uint16(0),
	} {
		_ = bytesof.Write(&header, bytesof.LittleEndian, field)
	}
	return header.Bytes()
}

func TestNothingIsTouchedBeforeEverythingIsChecked(t *testing.T) {
	s := newStore(t)
	good := program(t, says{Version: "2.0.0", Distros: []string{"new-os"}})
	s.install(t, Wanted{Source: file(t, "old", program(t, says{Distros: []string{"old-os"}}))})
	must(t, os.WriteFile(s.path("foreign"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.Symlink("/bin/sh", s.path("link")))
	must(t, os.Mkdir(s.path("dir"), 0o755))
	for what, c := range map[string]struct {
		wanted Wanted
		kind   Kind
		words  string
	}{
		"another digest":              {Wanted{Source: file(t, "x", good), SHA256: strings.Repeat("0", 64)}, Unfit, "is not what was asked for: its sha256 is " + digestOf(good)},
		"a name that is none":         {Wanted{Source: "/etc/passwd"}, Unfit, "is not the name of a plugin's file"},
		"a file that is not there":    {Wanted{Source: "/nonexistent/nspawn-build-plugin-x"}, Unfit, "no such file"},
		"a directory":                 {Wanted{Source: s.path("dir")}, Unfit, "not a regular file"},
		"an empty file":               {Wanted{Source: file(t, "x", nil)}, Unfit, "it is empty"},
		"another scheme":              {Wanted{Source: "https://example.org/nspawn-build-plugin-x"}, Unfit, "neither a file nor an artifact"},
		"a program of another kind":   {Wanted{Source: file(t, "x", elfFor(0x9026))}, 0, "it is built for alpha"},
		"one that is no plugin":       {Wanted{Source: file(t, "x", []byte("#!/bin/sh\nexit 7\n"))}, 0, "the x plugin died (exit status 7)"},
		"one that is nothing":         {Wanted{Source: file(t, "x", []byte("text"))}, 0, "exec format error"},
		"one with another name":       {Wanted{Source: file(t, "x", program(t, says{Name: "y", Distros: []string{"new-os"}}))}, 0, "calls itself y"},
		"one that makes nothing":      {Wanted{Source: file(t, "x", program(t, says{}))}, Unfit, "makes no distribution"},
		"a name that is taken":        {Wanted{Source: file(t, "old", good)}, Taken, "the old plugin is installed already, version 1.0.0"},
		"a distro that is taken":      {Wanted{Source: file(t, "x", program(t, says{Distros: []string{"new-os", "old-os"}}))}, Taken, "old-os is made by the old plugin"},
		"a file that is not listed":   {Wanted{Source: file(t, "foreign", good), Replace: true}, Taken, "plugins.lock does not list it, so it is not ours to replace"},
		"a link in the place":         {Wanted{Source: file(t, "link", good), Replace: true}, Taken, "it is not a file"},
		"a directory in the place":    {Wanted{Source: file(t, "dir", good), Replace: true}, Taken, "it is not a file"},
		"a key, and it is not signed": {Wanted{Source: file(t, "x", good), Key: newSigner(t).key(t)}, Unfit, "is not signed, and it must be by SHA256:"},
	} {
		t.Run(what, func(t *testing.T) {
			before := snapshot(t, s.Dir)
			_, err := s.Install(t.Context(), c.wanted)
			expect(t, err, c.kind, c.words)
			if after := snapshot(t, s.Dir); after != before {
				t.Errorf("something was touched:\n%s\nwas\n%s", after, before)
			}
		})
	}
	if _, err := os.Stat(escaped); err == nil {
		t.Error("a plugin that was only asked has written to the host")
	}
}

func TestADirectoryThatOthersCanChangeGetsNoPlugin(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		"writable by others":            func(dir string) error { return os.Chmod(dir, 0o777) },
		"writable by others, sticky":    func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) },
		"of somebody else":              func(dir string) error { return os.Chown(dir, 65534, 65534) },
		"in one that others can change": func(dir string) error { return os.Chmod(filepath.Dir(dir), 0o775) },
		"a link of somebody else": func(dir string) error {
			if err := os.Rename(dir, dir+".real"); err != nil {
				return err
			}
			if err := os.Symlink(dir+".real", dir); err != nil {
				return err
			}
			if err := os.Chmod(filepath.Dir(dir), 0o777|os.ModeSticky); err != nil {
				return err
			}
			return os.Lchown(dir, 65534, 65534)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStore(t)
			must(t, os.MkdirAll(s.Dir, 0o755))
			must(t, spoil(s.Dir))
			_, err := s.Install(t.Context(), Wanted{Source: file(t, "x", []byte("#!/bin/sh\n"))})
			expect(t, err, 0, "is not used")
			if left, _ := filepath.Glob(s.Dir + "/*"); len(left) > 0 {
				t.Errorf("this is there: %q", left)
			}
		})
	}
}

func TestAPluginTakesADistroFromAnotherAndGivesItBack(t *testing.T) {
	s := newStore(t)
	first := s.install(t, Wanted{Source: file(t, "first", program(t, says{Distros: []string{"shared", "own"}}))})
	second := s.install(t, Wanted{Source: file(t, "second", program(t, says{Distros: []string{"shared"}})), Replace: true})
	if want := []string{"shared of the first plugin " + first.Path}; !slices.Equal(second.Instead, want) {
		t.Errorf("it is said to be in place of %q", second.Instead)
	}
	for distro, want := range map[string]string{"shared": second.Path, "own": first.Path} {
		l, err := s.Host.ForDistro(t.Context(), distro)
		must(t, err)
		if l.Path != want {
			t.Errorf("%s is made by %s", distro, l.Path)
		}
	}
	_, err := s.Remove(t.Context(), "second")
	must(t, err)
	if l, err := s.Host.ForDistro(t.Context(), "shared"); err != nil || l.Path != first.Path {
		t.Errorf("it is not given back: %+v, %v", l, err)
	}
}

func TestAPluginOfAnotherDirectoryIsHiddenOnlyIfThatIsWanted(t *testing.T) {
	s := newStore(t)
	content := program(t, says{Distros: []string{"an-os"}})
	path := file(t, "twin", content)
	at := func(dir string) string {
		must(t, os.MkdirAll(dir, 0o755))
		other := filepath.Join(dir, pluginhost.FileOf("twin"))
		must(t, os.WriteFile(other, content, 0o755))
		must(t, pluginhost.WriteLock(t.Context(), dir, filepath.Join(dir, "plugins.lock")))
		return other
	}
	later := at(s.Host.Directories[2])
	_, err := s.Install(t.Context(), Wanted{Source: path})
	expect(t, err, Taken, later+" has the same name")
	if _, err := os.Stat(s.Dir); err == nil {
		t.Error("the directory was made for nothing")
	}
	done := s.install(t, Wanted{Source: path, Replace: true})
	if l, err := s.Host.ForDistro(t.Context(), "an-os"); err != nil || l.Path != done.Path {
		t.Errorf("%+v, %v", l, err)
	}
	_, err = s.Remove(t.Context(), "twin")
	must(t, err)
	at(s.Host.Directories[0])
	_, err = s.Install(t.Context(), Wanted{Source: path, Replace: true})
	expect(t, err, Taken, "comes first: what is installed would never be used")
}

func TestInstallingAtOnceLeavesEachWhole(t *testing.T) {
	s := newStore(t)
	var all sync.WaitGroup
	for i := range 6 {
		name := []string{"a", "b", "c"}[i/2]
		path := file(t, name, program(t, says{Version: []string{"1.0.0", "2.0.0"}[i%2], Distros: []string{name + "-os"}}))
		all.Go(func() {
			if _, err := s.Install(t.Context(), Wanted{Source: path, Replace: true}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	checks, err := s.Verify()
	must(t, err)
	if len(checks) != 3 {
		t.Errorf("there are %d plugins", len(checks))
	}
	for _, c := range checks {
		if c.Problem != "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestAPluginThatIsGoneIsInstalledAgain(t *testing.T) {
	s := newStore(t)
	_, err := s.put(t.Context(), script("a", "1"), Wanted{})
	must(t, err)
	must(t, os.Remove(s.path("a")))
	if _, err := s.put(t.Context(), script("a", "2"), Wanted{}); err != nil {
		t.Error(err)
	}
	if got := versions(t, s); !slices.Equal(got, []string{"a 2"}) {
		t.Errorf("there is %q", got)
	}
}

func TestWhatSomebodyPutThereIsTakenUpOnlyByItsOwnName(t *testing.T) {
	s := newStore(t)
	must(t, os.MkdirAll(s.Dir, 0o755))
	must(t, os.WriteFile(s.path("stray"), program(t, says{Distros: []string{"stray-os"}}), 0o755))
	// So the error of who finds it says.
	done := s.install(t, Wanted{Source: s.path("stray")})
	if _, err := s.Host.ForDistro(t.Context(), "stray-os"); err != nil || !done.Changed {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestMakeInstallKeepsWhatPluginInstallBrought(t *testing.T) {
	s := newStore(t)
	brought := s.install(t, Wanted{Source: file(t, "brought", program(t, says{Distros: []string{"brought-os"}}))})
	must(t, os.WriteFile(s.path("house"), []byte("#!/bin/sh\n"), 0o755))
	lock := filepath.Join(s.Dir, "plugins.lock")
	pinned := func() pluginhost.Entry {
		t.Helper()
		l, err := pluginhost.ReadLock(s.Dir)
		must(t, err)
		if _, ok := l.Plugins["house"]; !ok {
			t.Error("what make install brought is not on the lock")
		}
		return l.Plugins["brought"]
	}
	for _, names := range [][]string{{"house"}, nil} {
		must(t, pluginhost.WriteLock(t.Context(), s.Dir, lock, names...))
		if e := pinned(); e.Source != brought.Source || e.SHA256 != brought.SHA256 {
			t.Errorf("with %q it is pinned as %+v", names, e)
		}
	}
	// Nor does it vouch for what has been changed since.
	must(t, os.WriteFile(s.path("brought"), []byte("tampered with"), 0o755))
	must(t, pluginhost.WriteLock(t.Context(), s.Dir, lock))
	if e := pinned(); e.SHA256 != brought.SHA256 {
		t.Errorf("it vouches for another file: %+v", e)
	}
}
