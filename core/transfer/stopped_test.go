package transfer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the tests' own program be the end in the tree of a machine.
func TestMain(m *testing.M) {
	if status, did := Init(os.Args); did {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// asRoot skips where whoever runs the test is not, but in CI.
func asRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// TestNothingOfAStoppedMachineIsBelieved has pipes, which nobody writes to, in
// the place of what a program might want to know of its owners and its times.
func TestNothingOfAStoppedMachineIsBelieved(t *testing.T) {
	asRoot(t)
	tree := t.TempDir()
	if err := os.Mkdir(filepath.Join(tree, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"passwd", "group", "nsswitch.conf", "localtime", "ld.so.cache"} {
		if err := unix.Mkfifo(filepath.Join(tree, "etc", name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	theirs := filepath.Join(tree, "theirs")
	if err := os.WriteFile(theirs, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(tree)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	end, err := Stopped(root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	to := filepath.Join(t.TempDir(), "copy")
	var left []string
	if err := end.Pull(ctx, "/", to, here(Options{Keep: true}), func(what string) { left = append(left, what) }); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("it hung")
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(to, "theirs"), &st); err != nil || st.Uid != 1234 || st.Gid != 4321 {
		t.Errorf("it belongs to %d:%d, %v", st.Uid, st.Gid, err)
	}
	if text := strings.Join(left, "\n"); len(left) != 5 || strings.Count(text, "is a pipe") != 5 {
		t.Errorf("this was left out:\n%s", text)
	}
}
