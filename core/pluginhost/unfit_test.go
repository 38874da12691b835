package pluginhost

import (
	"debug/elf"
	le "encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// foreign makes a program of one for a machine that this is not.
func foreign(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	machine := le.LittleEndian.AppendUint16(nil, uint16(elf.EM_S390))
	_, err = f.WriteAt(machine, 18) // e_machine
	must(t, errors.Join(err, f.Close()))
}

// vouchAgain has the lock vouch for what is there, and leaves what it says of it.
func vouchAgain(t *testing.T, dir string) {
	t.Helper()
	lock, err := ReadLock(dir)
	must(t, err)
	entry := lock.Plugins["good"]
	entry.SHA256, err = hashOf(filepath.Join(dir, entry.Path))
	must(t, err)
	lock.Plugins["good"] = entry
	must(t, lock.Write(dir))
}

// TestWhyAPluginIsNotUsedIsToldToWhoAsksForItsDistro spoils the plugin that made a
// distro when it was installed: that none makes it would be no help.
func TestWhyAPluginIsNotUsedIsToldToWhoAsksForItsDistro(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(t *testing.T, path string) // of which the directory has the lock
		words string
		hint  string
	}{
		"changed": {func(t *testing.T, p string) {
			must(t, os.WriteFile(p, []byte("#!/bin/sh\n"), 0o755)) //nolint:gosec // a program
		}, "it is not the file that was installed", "find out who changed it"},
		"writable by others":    {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o777)) }, "can be written by others", "keep them where only root can write"},
		"in what others write":  {func(t *testing.T, p string) { must(t, os.Chmod(filepath.Dir(p), 0o777)) }, "can be written by others", "keep them where only root can write"},
		"for another machine":   {func(t *testing.T, p string) { foreign(t, p); vouchAgain(t, filepath.Dir(p)) }, "it is built for s390", "install a plugin that is built for this machine"},
		"not executable":        {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o644)) }, "it is not executable", "chmod 755 "},
		"a link to nothing":     {func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Symlink("/none", p)) }, "no such file", ""},
		"its lock is no lock":   {func(t *testing.T, p string) { must(t, os.WriteFile(lockOf(p), []byte("{"), 0o600)) }, "it is not a lock file", "install the plugins again"},
		"its lock is a pipe":    {func(t *testing.T, p string) { must(t, os.Remove(lockOf(p))); must(t, unix.Mkfifo(lockOf(p), 0o644)) }, "it is not a regular file", ""},
		"its lock may be a lie": {func(t *testing.T, p string) { must(t, os.Chmod(lockOf(p), 0o666)) }, "can be written by others", "keep them where only root can write"},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t)
			path := install(t)
			c.spoil(t, path)
			h.Directories = []string{filepath.Dir(path)}
			_, err := h.ForDistro(t.Context(), "good-os")
			var refused *RefusedError
			if !errors.As(err, &refused) || errors.Is(err, ErrNoPlugin) || !strings.Contains(err.Error(), c.words) || !strings.Contains(refused.Hint, c.hint) {
				t.Errorf("got %v, %+v", err, refused)
			}
		})
	}
}

func lockOf(path string) string { return filepath.Join(filepath.Dir(path), lockName) }

func TestADistroThatASpoiledPluginDoesNotMakeIsStillMadeByNone(t *testing.T) {
	h := newHost(t)
	path := install(t)
	must(t, os.Chmod(path, 0o777))
	h.Directories = []string{filepath.Dir(path)}
	if _, err := h.ForDistro(t.Context(), "plan9"); !errors.Is(err, ErrNoPlugin) || !strings.Contains(err.Error(), "can be written by others") {
		t.Errorf("got %v", err)
	}
}

func TestAPluginInDevelopmentThatIsNotRunIsNotPassedOver(t *testing.T) {
	h := newHost(t)
	path := develop(t)
	must(t, os.Chmod(filepath.Dir(path), 0o777))
	h.Dev = []DevPlugin{{Name: "new", Path: path}}
	_, err := h.ForDistro(t.Context(), "good-os") // which another makes
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Hint == "" || errors.Is(err, ErrNoPlugin) {
		t.Errorf("got %v", err)
	}
}
