package still

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheGroupOfAMachineIsItsOwnAndNothingElse(t *testing.T) {
	const own = "0::/user.slice/user-0.slice/session-1.scope\n"
	for leader, want := range map[string]string{
		"/machine.slice/systemd-nspawn@box.service/payload/init.scope":      "/machine.slice/systemd-nspawn@box.service/payload",
		"/machine.slice/systemd-nspawn@payload.service/payload/a/payload/b": "/machine.slice/systemd-nspawn@payload.service/payload",
		"/nspawn-build-box/init.scope":                                      "/nspawn-build-box",
		"/nspawn-build-box":                                                 "/nspawn-build-box",
		"/":                                                                 "",
		"/init.scope":                                                       "",
		"/user.slice/user-0.slice/session-1.scope":                          "",
		"/user.slice/user-0.slice/init.scope":                               "",
		"/user.slice/user-0.slice/session-1.scope/systemd-nspawn/payload/other": "/user.slice/user-0.slice/session-1.scope/systemd-nspawn/payload",
	} {
		got, err := machineGroup(leader, own)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", leader, got, err, want)
		}
	}
}

// group is a directory that looks like a cgroup's.
func group(t *testing.T, frozen string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"cgroup.freeze": frozen + "\n", "cgroup.events": "populated 1\nfrozen 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func wish(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.freeze"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestNothingIsSaidToBeFrozenBeforeItIs(t *testing.T) {
	dir := group(t, "0")
	done := make(chan error, 1)
	var thaw func() error
	go func() {
		var err error
		thaw, err = freeze(context.Background(), dir)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it says so, and the kernel does not: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.events"), []byte("populated 1\nfrozen 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if wish(t, dir) != "1" {
		t.Error("it is not frozen")
	}
	if err := thaw(); err != nil || wish(t, dir) != "0" {
		t.Errorf("thawed: %q, %v", wish(t, dir), err)
	}
}

func TestAMachineThatDoesNotHoldStillIsLetGo(t *testing.T) {
	dir := group(t, "0")
	asked := errors.New("asked to end")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(asked)
	if _, err := freeze(ctx, dir); !errors.Is(err, asked) || wish(t, dir) != "0" {
		t.Errorf("got %v and left it %q", err, wish(t, dir))
	}
}

func TestWhatSomebodyElseFrozeStaysSo(t *testing.T) {
	dir := group(t, "1")
	thaw, err := freeze(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := thaw(); err != nil || wish(t, dir) != "1" {
		t.Errorf("it is %q, %v", wish(t, dir), err)
	}
	if _, err := freeze(context.Background(), t.TempDir()); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a freezer: %v, want words for it", err)
	}
}

func TestAKeeperThatCannotSaysWhy(t *testing.T) {
	before := self
	t.Cleanup(func() { self = before })
	self = []string{"/bin/sh", "-c", "echo no freezer here >&2; exit 3"}
	if _, err := Hold(context.Background(), 1); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "no freezer here") {
		t.Errorf("got %v", err)
	}
	// One that holds ends when it is let go.
	self = []string{"/bin/sh", "-c", "echo frozen; cat"}
	release, err := Hold(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}
