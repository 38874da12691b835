package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestLinksOfRealTreesWork(t *testing.T) {
	w := newWorld(t).guard(t)
	must(t, os.MkdirAll(w.in("run/systemd/resolve"), 0o755))
	must(t, os.WriteFile(w.in("run/systemd/resolve/stub-resolv.conf"), []byte("nameserver 127.0.0.53\n"), 0o644))
	must(t, os.WriteFile(w.in("usr/lib/os-release"), []byte("ID=debian\n"), 0o644))
	for link, target := range map[string]string{
		"lib":             "usr/lib",
		"var-run":         "/run",
		"etc/os-release":  "../usr/lib/os-release",
		"etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf",
		"etc/up":          "../../../../usr/lib/os-release",
	} {
		must(t, os.Symlink(target, w.in(link)))
	}
	for name, want := range map[string]string{
		"/etc/os-release":                              "ID=debian\n",
		"etc/os-release":                               "ID=debian\n",
		"//etc//./os-release":                          "ID=debian\n",
		"lib/os-release":                               "ID=debian\n",
		"lib/../lib/os-release":                        "ID=debian\n",
		"../../../etc/os-release":                      "ID=debian\n",
		"etc/up":                                       "ID=debian\n",
		"/etc/resolv.conf":                             "nameserver 127.0.0.53\n",
		"var-run/systemd/resolve/stub-resolv.conf":     "nameserver 127.0.0.53\n",
		"var-run/../run/systemd/../../etc/resolv.conf": "nameserver 127.0.0.53\n",
	} {
		data, err := w.tree.ReadFile(name, 100)
		if err != nil || string(data) != want {
			t.Errorf("%s reads %q, %v", name, data, err)
		}
	}
}

func TestReadFileKeepsToItsLimit(t *testing.T) {
	w := newWorld(t)
	must(t, os.WriteFile(w.in("five"), []byte("12345"), 0o644))
	for limit, want := range map[int64]error{4: ErrTooLarge, 5: nil, 6: nil, 0: ErrTooLarge} {
		if _, err := w.tree.ReadFile("five", limit); !errors.Is(err, want) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

func TestFilesThatLieAboutTheirSizeKeepToTheLimit(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	w := newWorld(t)
	must(t, os.Mkdir(w.in("proc"), 0o755))
	mount(t, "proc", w.in("proc"), "proc", 0)
	if _, err := w.tree.ReadFile("proc/filesystems", 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file that lies about its size: %v", err)
	}
	if data, err := w.tree.ReadFile("proc/filesystems", 1<<20); err != nil || !strings.Contains(string(data), "proc") {
		t.Errorf("a file that lies about its size reads %q, %v", data, err)
	}
}

func TestListing(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.in("etc/ssh/ssh_host_dir"), 0o755))
	for _, name := range []string{"ssh_host_rsa_key", "ssh_host_ed25519_key", "moduli", "\xff\n"} {
		must(t, os.WriteFile(w.in("etc/ssh/"+name), nil, 0o600))
	}
	must(t, os.Symlink("/nowhere", w.in("etc/ssh/ssh_host_link_key")))

	entries, err := w.tree.ReadDir("/etc/ssh")
	must(t, err)
	got := map[string]fs.FileMode{}
	for _, entry := range entries {
		got[entry.Name()] = entry.Type()
	}
	want := map[string]fs.FileMode{
		"ssh_host_rsa_key": 0, "ssh_host_ed25519_key": 0, "moduli": 0, "\xff\n": 0,
		"ssh_host_dir": fs.ModeDir, "ssh_host_link_key": fs.ModeSymlink,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	names, err := w.tree.Glob("etc/ssh", "ssh_host_*_key")
	must(t, err)
	if diff := cmp.Diff([]string{"ssh_host_ed25519_key", "ssh_host_link_key", "ssh_host_rsa_key"}, names); diff != "" {
		t.Error(diff)
	}
	if names, err := w.tree.Glob("etc/no-such", "*"); names != nil || err != nil {
		t.Errorf("a directory that is not there holds %q, %v", names, err)
	}
	for _, pattern := range []string{"[", "a/b", "../*"} {
		if _, err := w.tree.Glob("etc/ssh", pattern); !errors.Is(err, path.ErrBadPattern) {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
	if _, err := w.tree.ReadDir("etc/ssh/moduli"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("listing a file: %v", err)
	}
	if _, err := w.tree.ReadDir("etc/no-such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("listing nothing: %v", err)
	}
}

func TestLinksThemselvesCanBeSeen(t *testing.T) {
	w := newWorld(t)
	must(t, os.Symlink("/run/x", w.in("etc/dangling")))
	must(t, os.Symlink("/etc", w.in("conf")))

	if target, err := w.tree.Readlink("conf/dangling"); target != "/run/x" || err != nil {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	if _, err := w.tree.Readlink("etc"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("link of a directory: %v", err)
	}
	if _, err := w.tree.Readlink("etc/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("link of nothing: %v", err)
	}
	info, err := w.tree.Lstat("etc/dangling")
	if err != nil || info.Mode().Type() != fs.ModeSymlink || info.Name() != "dangling" {
		t.Errorf("Lstat of a link: %v, %v", info, err)
	}
	if _, err := w.tree.Stat("etc/dangling"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of a dangling link: %v", err)
	}
	for _, name := range []string{"", "/", ".", "..", "conf/", "conf/.", "etc/.."} {
		info, err := w.tree.Lstat(name)
		if err != nil || !info.IsDir() {
			t.Errorf("Lstat(%q) = %v, %v", name, info, err)
		}
	}
}

func TestNamesThatStandForNothing(t *testing.T) {
	w := newWorld(t)
	for what, use := range uses {
		if err := use(w.tree, "etc/a\x00b"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s of a name with NUL: %v", what, err)
		}
	}
	for _, name := range []string{"", "/", ".", "..", "etc/", "etc/..", "etc/."} {
		for _, what := range []string{"WriteFile", "Symlink", "Remove", "Readlink"} {
			if err := uses[what](w.tree, name); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s of %q: %v", what, name, err)
			}
		}
	}
}

// Errors name the tree by its path, not by descriptors, and escape whatever a
// tree could have put into a name.
func TestErrorsAreFitToPrint(t *testing.T) {
	w := newWorld(t)
	_, err := w.tree.ReadFile("etc/\x1b[2J", 1)
	if err == nil || strings.ContainsRune(err.Error(), '\x1b') {
		t.Errorf("got %q", err)
	}
	want := `read "etc/none" in tree "` + w.path + `": no such file or directory`
	if _, err = w.tree.ReadFile("etc/none", 1); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
