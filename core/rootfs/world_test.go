package rootfs

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// secret is what no attack may get hold of or change.
const secret = "the host's own secret\n"

// world is a tree and the host around it.
type world struct {
	tree    *Tree
	path    string // of the tree
	outside string // what must never change
}

// newWorld makes a small tree and beside it a canary, which is compared with
// what it was when the test ends.
func newWorld(t *testing.T) world {
	t.Helper()
	top := t.TempDir()
	w := world{path: filepath.Join(top, "machine"), outside: filepath.Join(top, "outside")}
	for _, dir := range []string{"machine/etc", "machine/usr/lib", "machine/root", "machine/run", "outside/etc", "outside/d"} {
		must(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
	}
	for _, file := range []string{"etc/shadow", "etc/hostname", "d/file", "file"} {
		must(t, os.WriteFile(filepath.Join(w.outside, file), []byte(secret), 0o600))
	}
	w.tree = open(t, w.path)
	return w
}

// guard fails the test if the canary is another at its end.
func (w world) guard(t *testing.T) world {
	t.Helper()
	before := fingerprint(t, w.outside)
	t.Cleanup(func() {
		if diff := cmp.Diff(before, fingerprint(t, w.outside)); diff != "" {
			t.Errorf("the host has changed (-before +after):\n%s", diff)
		}
	})
	return w
}

// fingerprint is everything about the files below root that an attack could
// change.
func fingerprint(t *testing.T, root string) map[string]string {
	t.Helper()
	prints := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("mode %o owner %d:%d size %d modified %d.%09d", st.Mode, st.Uid, st.Gid, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" sha256 %x attributes %x", sha256.Sum256(data), attributes(t, path)&lockingFlags)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		prints[path] = line
		return nil
	}))
	return prints
}

// attributes are what lsattr shows; none where the file system has none.
func attributes(t *testing.T, path string) uint32 {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return 0
	}
	return flags
}

func open(t testing.TB, path string) *Tree {
	t.Helper()
	tree, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() }) // a test may have closed it
	return tree
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in is a path in the tree, for the test to plant something at.
func (w world) in(name string) string { return filepath.Join(w.path, name) }

// missing skips the test, or fails it where everything has to be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s, and CI=true means that it has to be there", what)
	}
	t.Skipf("needs %s", what)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root")
	}
}

// privateMounts runs the calling test again in a process with a mount
// namespace of its own, which ends with it: no crash leaves a mount behind.
// It returns true in that process and false, when it is over, in the first.
func privateMounts(t *testing.T) bool {
	t.Helper()
	needRoot(t)
	const mark = "NSPAWN_BUILD_TEST_PRIVATE_MOUNTS"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS, // the runtime makes every mount private, too
		Pdeathsig:    syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in its own mount namespace: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run in its own mount namespace:\n%s", out)
	}
	return false
}

// mount mounts until the test ends.
func mount(t *testing.T, source, target, fstype string, flags uintptr) {
	t.Helper()
	must(t, unix.Mount(source, target, fstype, flags, ""))
	t.Cleanup(func() { must(t, unix.Unmount(target, unix.MNT_DETACH)) })
}

// procFd is where the kernel shows an open file.
func procFd(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
