package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// attacks are trees that try to lead us out when name is used.
var attacks = []struct {
	what  string
	name  string
	plant func(t *testing.T, w world)
}{
	{"a file is an absolute link out", "/etc/shadow", func(t *testing.T, w world) {
		must(t, os.Symlink(filepath.Join(w.outside, "etc/shadow"), w.in("etc/shadow")))
	}},
	{"a file is a link out through its parents", "etc/shadow", func(t *testing.T, w world) {
		must(t, os.Symlink("../../outside/etc/shadow", w.in("etc/shadow")))
	}},
	{"a file is a link out through more parents than there are", "etc/shadow", func(t *testing.T, w world) {
		must(t, os.Symlink(strings.Repeat("../", 64)+w.outside+"/etc/shadow", w.in("etc/shadow")))
	}},
	{"a link leads to a link out", "etc/shadow", func(t *testing.T, w world) {
		must(t, os.Symlink("shadow-", w.in("etc/shadow")))
		must(t, os.Symlink(filepath.Join(w.outside, "etc/shadow"), w.in("etc/shadow-")))
	}},
	{"etc is an absolute link out", "/etc/shadow", func(t *testing.T, w world) {
		must(t, os.Remove(w.in("etc")))
		must(t, os.Symlink(filepath.Join(w.outside, "etc"), w.in("etc")))
	}},
	{"etc is a relative link out", "/etc/shadow", func(t *testing.T, w world) {
		must(t, os.Remove(w.in("etc")))
		must(t, os.Symlink("../outside/etc", w.in("etc")))
	}},
	{"sshd_config.d is a link out", "etc/ssh/sshd_config.d/file", linkOut("etc/ssh/sshd_config.d")},
	{".ssh is a link out", "root/.ssh/file", linkOut("root/.ssh")},
	{"a .wants directory is a link out", "etc/systemd/system/multi-user.target.wants/file", linkOut("etc/systemd/system/multi-user.target.wants")},
	{"systemd/network is a link out", "etc/systemd/network/file", linkOut("etc/systemd/network")},
	{"a magic link leads to the host's root", "etc/shadow", func(t *testing.T, w world) {
		must(t, os.Symlink("/proc/self/root"+w.outside+"/etc/shadow", w.in("etc/shadow")))
	}},
	{"a magic link as a directory", "root/.ssh/file", func(t *testing.T, w world) {
		must(t, os.Symlink("/proc/self/root"+w.outside+"/d", w.in("root/.ssh")))
	}},
	{"a magic link to a descriptor", "etc/0/file", func(t *testing.T, w world) {
		must(t, os.Remove(w.in("etc")))
		must(t, os.Symlink("/proc/self/fd", w.in("etc")))
	}},
	{"the name itself goes up", "../outside/d/file", func(*testing.T, world) {}},
	{"the name goes up from below", "etc/../../outside/d/file", func(*testing.T, world) {}},
	{"a hard link to a file of the host", "etc/hostname", func(t *testing.T, w world) {
		must(t, os.Link(filepath.Join(w.outside, "etc/hostname"), w.in("etc/hostname")))
	}},
	{"a link that leads to itself", "etc/loop/file", func(t *testing.T, w world) {
		must(t, os.Symlink("loop", w.in("etc/loop")))
	}},
	{"a named pipe", "etc/hostname", func(t *testing.T, w world) {
		must(t, unix.Mkfifo(w.in("etc/hostname"), 0o644))
	}},
	{"a file of 10 GB", "etc/hostname", func(t *testing.T, w world) {
		must(t, os.WriteFile(w.in("etc/hostname"), nil, 0o644))
		must(t, os.Truncate(w.in("etc/hostname"), 10<<30))
	}},
	{"a device that never ends", "etc/hostname", func(t *testing.T, w world) {
		needRoot(t)
		must(t, unix.Mknod(w.in("etc/hostname"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	}},
	{"a terminal", "etc/hostname", func(t *testing.T, w world) {
		needRoot(t)
		must(t, unix.Mknod(w.in("etc/hostname"), unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))))
	}},
}

// linkOut plants a link to the directory d outside.
func linkOut(name string) func(t *testing.T, w world) {
	return func(t *testing.T, w world) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(w.in(name)), 0o755))
		must(t, os.Symlink(filepath.Join(w.outside, "d"), w.in(name)))
	}
}

var errLeaked = errors.New("leaked the secret")

// uses are all that can be done with a name.
var uses = map[string]func(tree *Tree, name string) error{
	"ReadFile": func(tree *Tree, name string) error {
		data, err := tree.ReadFile(name, 1<<20)
		if string(data) == secret {
			return errLeaked
		}
		return err
	},
	"WriteFile": func(tree *Tree, name string) error { return tree.WriteFile(name, []byte("ours\n"), 0o666) },
	"MkdirAll":  func(tree *Tree, name string) error { return tree.MkdirAll(name, 0o777) },
	"Symlink":   func(tree *Tree, name string) error { return tree.Symlink("target", name) },
	"Remove":    func(tree *Tree, name string) error { return tree.Remove(name) },
	"Readlink":  func(tree *Tree, name string) error { _, err := tree.Readlink(name); return err },
	"Stat":      func(tree *Tree, name string) error { _, err := tree.Stat(name); return err },
	"Lstat":     func(tree *Tree, name string) error { _, err := tree.Lstat(name); return err },
	"ReadDir":   func(tree *Tree, name string) error { _, err := tree.ReadDir(name); return err },
	"Glob":      func(tree *Tree, name string) error { _, err := tree.Glob(name, "*"); return err },
}

func TestNoTreeLeadsOutOfItself(t *testing.T) {
	for _, attack := range attacks {
		for what, use := range uses {
			t.Run(attack.what+"/"+what, func(t *testing.T) {
				w := newWorld(t)
				attack.plant(t, w)
				w.guard(t)
				ended := make(chan error, 1)
				go func() { ended <- use(w.tree, attack.name) }()
				select {
				case err := <-ended:
					// A hard link is the tree's own file: reading it leads nowhere.
					if errors.Is(err, errLeaked) && !strings.Contains(attack.what, "hard link") {
						t.Error(err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("it hangs")
				}
			})
		}
	}
}

func TestWritingReplacesWhateverAttacks(t *testing.T) {
	for _, attack := range attacks {
		t.Run(attack.what, func(t *testing.T) {
			w := newWorld(t)
			attack.plant(t, w)
			w.guard(t)
			err := w.tree.WriteFile(attack.name, []byte("ours\n"), 0o640)
			if errors.Is(err, unix.ELOOP) && strings.Contains(attack.what, "itself") {
				return
			}
			must(t, err)
			data, err := w.tree.ReadFile(attack.name, 100)
			must(t, err)
			info, err := w.tree.Lstat(attack.name)
			must(t, err)
			if string(data) != "ours\n" || info.Mode() != 0o640 {
				t.Errorf("got a file of mode %v that says %q", info.Mode(), data)
			}
		})
	}
}

func TestReadingTellsWhatIsWrong(t *testing.T) {
	for what, want := range map[string]error{
		"a named pipe":                             ErrNotRegular,
		"a file of 10 GB":                          ErrTooLarge,
		"a device that never ends":                 ErrNotRegular,
		"a terminal":                               ErrNotRegular,
		"a file is an absolute link out":           fs.ErrNotExist,
		"a magic link leads to the host's root":    fs.ErrNotExist,
		"a link that leads to itself":              unix.ELOOP,
		"the name itself goes up":                  fs.ErrNotExist,
		"a file is a link out through its parents": fs.ErrNotExist,
		"sshd_config.d is a link out":              fs.ErrNotExist,
		"a .wants directory is a link out":         fs.ErrNotExist,
		"systemd/network is a link out":            fs.ErrNotExist,
		"a magic link as a directory":              fs.ErrNotExist,
	} {
		t.Run(what, func(t *testing.T) {
			for _, attack := range attacks {
				if attack.what != what {
					continue
				}
				w := newWorld(t)
				attack.plant(t, w)
				if _, err := w.tree.ReadFile(attack.name, 1<<20); !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
				return
			}
			t.Fatal("there is no such attack")
		})
	}
}

func TestMountedProcLeadsNowhere(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	w := newWorld(t)
	must(t, os.Mkdir(w.in("proc"), 0o755))
	mount(t, "proc", w.in("proc"), "proc", 0)
	held, err := os.Open(filepath.Join(w.outside, "d"))
	must(t, err)
	defer held.Close()
	for link, target := range map[string]string{
		"self":   "/proc/self/root" + w.outside + "/d",
		"thread": "/proc/thread-self/root" + w.outside + "/d",
		"cwd":    "/proc/self/cwd",
		"fd":     "/proc/self/fd/" + filepath.Base(procFd(held)),
	} {
		must(t, os.Symlink(target, w.in(link)))
	}
	must(t, os.Chdir(filepath.Join(w.outside, "d")))
	w.guard(t)
	for _, link := range []string{"self", "thread", "cwd", "fd"} {
		for what, use := range uses {
			err := use(w.tree, link+"/file")
			if err == nil {
				t.Errorf("%s through %s did not fail", what, link)
			}
		}
	}
	must(t, os.Chdir("/"))
}

func TestSwappedRootIsRefused(t *testing.T) {
	w := newWorld(t).guard(t)
	must(t, w.tree.WriteFile("etc/hostname", []byte("before\n"), 0o644))
	must(t, os.Rename(w.path, w.path+".away"))
	must(t, os.Symlink(w.outside, w.path))

	if tree, err := Open(w.path); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("opened %v, %v", tree, err)
	}
	if err := Publish(w.path, w.path+".published"); err == nil {
		t.Error("published a link")
	}
	// One that was open goes on with the tree that it has opened.
	must(t, w.tree.WriteFile("etc/hostname", []byte("after\n"), 0o644))
	data, err := os.ReadFile(filepath.Join(w.path+".away", "etc/hostname"))
	must(t, err)
	if string(data) != "after\n" {
		t.Errorf("the file says %q", data)
	}
}

func TestHostRootIsNoTree(t *testing.T) {
	for _, path := range []string{"/", "//", "/tmp/..", "relative", "", "."} {
		if tree, err := Open(path); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q) = %v, %v", path, tree, err)
		}
	}
}
