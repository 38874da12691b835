package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// owner returns who owns a path, and how it may be used.
func owner(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s has no owner", path)
	}
	return fmt.Sprintf("%d:%d %v", st.Uid, st.Gid, info.Mode())
}

func TestWhatIsWrittenBelongsToTheTreesOwner(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	must(t, os.Chown(w.path, 524288, 524289))
	must(t, w.tree.WriteFile("etc/ssh/sshd_config.d/10.conf", []byte("x"), 0o640))
	must(t, w.tree.MkdirAll("root/.ssh", 0o700))
	must(t, w.tree.Symlink("/usr/lib/systemd/system/ssh.service", "etc/systemd/system/multi-user.target.wants/ssh.service"))
	for name, want := range map[string]string{
		"etc":                           "0:0 drwxr-xr-x", // was there before
		"etc/ssh":                       "524288:524289 drwxr-xr-x",
		"etc/ssh/sshd_config.d":         "524288:524289 drwxr-xr-x",
		"etc/ssh/sshd_config.d/10.conf": "524288:524289 -rw-r-----",
		"root/.ssh":                     "524288:524289 drwx------",
		"etc/systemd/system/multi-user.target.wants":             "524288:524289 drwxr-xr-x",
		"etc/systemd/system/multi-user.target.wants/ssh.service": "524288:524289 Lrwxrwxrwx",
	} {
		if got := owner(t, w.in(name)); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestModesDoNotDependOnTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o22, 0o77} {
		t.Run(fmt.Sprintf("%03o", mask), func(t *testing.T) {
			w := newWorld(t)
			defer unix.Umask(unix.Umask(mask))
			must(t, w.tree.WriteFile("a/b/secret", nil, 0o600))
			must(t, w.tree.WriteFile("a/b/open", nil, 0o666))
			must(t, w.tree.MkdirAll("c/d", 0o700))
			must(t, w.tree.MkdirAll("tmp", 0o777|fs.ModeSticky))
			got := map[string]string{}
			for _, name := range []string{"a", "a/b", "a/b/secret", "a/b/open", "c", "c/d", "tmp"} {
				info, err := w.tree.Lstat(name)
				must(t, err)
				got[name] = info.Mode().String()
			}
			want := map[string]string{
				"a": "drwxr-xr-x", "a/b": "drwxr-xr-x", "a/b/secret": "-rw-------", "a/b/open": "-rw-rw-rw-",
				"c": "drwx------", "c/d": "drwx------", "tmp": "dtrwxrwxrwx",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestModesBeyondPermissionsAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, mode := range []fs.FileMode{fs.ModeSetuid | 0o755, fs.ModeSetgid | 0o755, fs.ModeDevice, fs.ModeDir | 0o755} {
		if err := w.tree.WriteFile("etc/x", nil, mode); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("file of mode %v: %v", mode, err)
		}
		if err := w.tree.MkdirAll("etc/y", mode); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("directory of mode %v: %v", mode, err)
		}
	}
}

func TestWritingLeavesNothingElseBehind(t *testing.T) {
	w := newWorld(t)
	must(t, os.Mkdir(w.in("etc/dir"), 0o755))
	must(t, w.tree.WriteFile("etc/file", []byte("1"), 0o644))
	must(t, w.tree.WriteFile("etc/file", []byte("2"), 0o600))
	must(t, w.tree.Symlink("/a", "etc/link"))
	must(t, w.tree.Symlink("/b", "etc/link"))
	must(t, w.tree.Symlink("/c", "etc/file2"))
	must(t, w.tree.WriteFile("etc/file2", []byte("3"), 0o600))
	for what, err := range map[string]error{
		"file over directory":   w.tree.WriteFile("etc/dir", nil, 0o600),
		"link over directory":   w.tree.Symlink("x", "etc/dir"),
		"name that is too long": w.tree.WriteFile("etc/"+strings.Repeat("x", 256), nil, 0o600),
		"file below a file":     w.tree.WriteFile("etc/file/x", nil, 0o600),
		"directory over a file": w.tree.MkdirAll("etc/file", 0o755),
		"empty target":          w.tree.Symlink("", "etc/empty"),
		"target with NUL":       w.tree.Symlink("a\x00", "etc/nul"),
		"removing a directory":  w.tree.Remove("etc/dir"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	names, err := w.tree.Glob("etc", "*")
	must(t, err)
	if diff := cmp.Diff([]string{"dir", "file", "file2", "link"}, names); diff != "" {
		t.Error(diff)
	}
	target, err := w.tree.Readlink("etc/link")
	if err != nil || target != "/b" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

func TestDanglingLinksLeadToPlacesInside(t *testing.T) {
	w := newWorld(t).guard(t)
	for link, target := range map[string]string{
		"etc/a": "/var/lib/a",
		"etc/b": "../../../../var/lib/b/c",
		"etc/c": "a/below",
		"etc/d": filepath.Join(w.outside, "new"),
	} {
		must(t, os.Symlink(target, w.in(link)))
	}
	for name, at := range map[string]string{
		"etc/a/x/file": "var/lib/a/x/file",
		"etc/b/file":   "var/lib/b/c/file",
		"etc/c/file":   "var/lib/a/below/file",
		"etc/d/file":   filepath.Join(w.outside, "new/file"),
	} {
		must(t, w.tree.WriteFile(name, []byte(name), 0o644))
		if data, err := os.ReadFile(w.in(at)); err != nil || string(data) != name {
			t.Errorf("%s is not at %s: %q, %v", name, at, data, err)
		}
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t).guard(t)
	must(t, os.WriteFile(w.in("etc/file"), nil, 0o600))
	must(t, os.Symlink("file", w.in("etc/link")))
	for _, name := range []string{"etc/link", "etc/link", "etc/none", "none/none", "etc/file/none"} {
		must(t, w.tree.Remove(name))
	}
	if _, err := w.tree.Stat("etc/file"); err != nil {
		t.Errorf("removing a link took its target: %v", err)
	}
	if err := w.tree.Remove("etc"); !errors.Is(err, unix.EISDIR) {
		t.Errorf("removing a directory: %v", err)
	}
	must(t, w.tree.Remove("/etc/../etc/file"))
	if _, err := w.tree.Stat("etc/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestClosedTreeDoesNothing(t *testing.T) {
	w := newWorld(t)
	must(t, w.tree.Close())
	for what, use := range uses {
		if what == "Glob" { // of a directory that cannot be found: there is none
			continue
		}
		if err := use(w.tree, "etc/file"); err == nil {
			t.Errorf("%s of a closed tree did not fail", what)
		}
	}
}
