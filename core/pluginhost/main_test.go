package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// shelf is a directory with a plugin for every mode of misbehave, all of them
// the test binary under another name, and a lock file that vouches for them.
var shelf string

func TestMain(m *testing.M) {
	if status, did := Init(os.Args); did {
		os.Exit(status)
	}
	if mode, ok := strings.CutPrefix(filepath.Base(os.Args[0]), sdk.BinaryPrefix); ok {
		misbehaveAs(mode)
		os.Exit(0)
	}
	if os.Getenv(asHost) != "" {
		os.Exit(hostThatIsKilled())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "plugins")
	if err == nil {
		err = stock(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shelf = dir
	status := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return status
}

// stock makes the plugins and vouches for them.
func stock(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as an installed one
		return err
	}
	lock := Lock{Version: lockVersion, Plugins: map[string]Entry{}}
	var first, sum string
	for _, mode := range modeNames() {
		path := filepath.Join(dir, sdk.BinaryPrefix+mode)
		if first == "" {
			first = path
			if err := copyFile(os.Args[0], path); err != nil {
				return err
			}
			content, err := os.ReadFile(path) //nolint:gosec // its own
			if err != nil {
				return err
			}
			digest := sha256.Sum256(content)
			sum = hex.EncodeToString(digest[:])
		} else if err := os.Link(first, path); err != nil {
			return err
		}
		lock.Plugins[mode] = Entry{Path: filepath.Base(path), SHA256: sum, Version: "1.0.0", Distros: []string{mode + "-os"}}
	}
	return writeLockFile(filepath.Join(dir, lockName), lock)
}

func writeLockFile(path string, lock Lock) error {
	content, err := json.Marshal(lock)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644) //nolint:gosec // as an installed one
}

func copyFile(from, to string) error {
	in, err := os.Open(from) //nolint:gosec // a test's own
	if err != nil {
		return err
	}
	defer in.Close()                                                      //nolint:errcheck // only read from
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755) //nolint:gosec // a program
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// needRoot skips a test that makes namespaces.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	const why = "namespaces and trusted files need root"
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// newHost returns a host of the shelf's plugins and checks, when the test is
// over, that nothing of any session is left.
func newHost(t testing.TB) *Host {
	t.Helper()
	needRoot(t)
	runtimeDir, err := os.MkdirTemp("", "nb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		expectEmpty(t, runtimeDir)
		if err := os.RemoveAll(runtimeDir); err != nil {
			t.Error(err)
		}
		for _, line := range strings.Split(mountTable(t), "\n") {
			if strings.Contains(line, runtimeDir) || strings.Contains(line, "/"+t.Name()) {
				t.Errorf("a mount is left: %s", line)
			}
		}
		if left := withEnvironment(runtimeDir); len(left) > 0 {
			t.Errorf("processes are left: %q", left)
		}
	})
	return &Host{
		Directories: []string{shelf}, RuntimeDir: runtimeDir, Self: os.Args[0],
		StartTimeout: 20 * time.Second, CancelGrace: 300 * time.Millisecond,
	}
}

func mountTable(t testing.TB) string {
	t.Helper()
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func expectEmpty(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		t.Errorf("%s was left in %s", e.Name(), dir)
	}
}

// awaitGone fails unless soon no process has mark in its command line.
func awaitGone(t testing.TB, mark string) {
	t.Helper()
	var left []string
	for range 300 {
		if left = marked(mark); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("processes are left: %q", left)
}

// marked are the command lines that mark is in.
func marked(mark string) []string { return processes("cmdline", mark) }

// withEnvironment are the environments that mark is in: those of a session's
// processes name its directory.
func withEnvironment(mark string) []string { return processes("environ", mark) }

func processes(file, mark string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/" + file)
	for _, p := range paths {
		content, err := os.ReadFile(p) //nolint:gosec // in /proc
		if err == nil && strings.Contains(string(content), mark) {
			found = append(found, p+": "+strings.ReplaceAll(string(content), "\x00", " "))
		}
	}
	return found
}

// listing is the shelf's plugin of that mode.
func listing(mode string) Listing {
	return Listing{Name: mode, Path: filepath.Join(shelf, sdk.BinaryPrefix+mode)}
}

// jobGrants makes directories to grant.
func jobGrants(t testing.TB) Grants {
	t.Helper()
	return Grants{Target: t.TempDir(), CacheDirectory: t.TempDir(), WorkDirectory: t.TempDir()}
}

func (g Grants) request() sdk.Request {
	return sdk.Request{JobID: "job", Target: g.Target, CacheDirectory: g.CacheDirectory, WorkDirectory: g.WorkDirectory}
}

// startGood starts a session whose start must not fail.
func startGood(t testing.TB, h *Host, mode string, grants Grants) *Session {
	t.Helper()
	s, err := h.Start(t.Context(), listing(mode), grants)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}
