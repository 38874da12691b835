package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplaceFileKeepsOwnerGroupAndMode(t *testing.T) {
	needRoot(t)
	w := newWorld(t).guard(t)
	shadow := w.in("etc/shadow")
	must(t, os.WriteFile(shadow, []byte("old"), 0o600))
	must(t, errors.Join(os.Chown(shadow, 524288, 524330), os.Chmod(shadow, 0o640)))
	must(t, w.tree.ReplaceFile("/etc/shadow", []byte("new")))
	if got := owner(t, shadow); got != "524288:524330 -rw-r-----" {
		t.Errorf("shadow is %s", got)
	}
	if data, err := os.ReadFile(shadow); err != nil || string(data) != "new" {
		t.Errorf("shadow holds %q, %v", data, err)
	}
	if left, err := os.ReadDir(w.in("etc")); err != nil || len(left) != 1 {
		t.Errorf("something was left behind: %v, %v", left, err)
	}
}

func TestReplaceFileNeverWritesThroughALink(t *testing.T) {
	for what, c := range map[string]struct {
		plant func(host, name string) error
		want  error
	}{
		"link out":  {os.Symlink, fs.ErrNotExist},
		"hard link": {os.Link, nil},
		"pipe":      {func(_, name string) error { return unix.Mkfifo(name, 0o600) }, ErrNotRegular},
		"nothing":   {func(string, string) error { return nil }, fs.ErrNotExist},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			must(t, c.plant(filepath.Join(w.outside, "etc/shadow"), w.in("etc/shadow")))
			w.guard(t)
			if err := w.tree.ReplaceFile("etc/shadow", []byte("new")); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
