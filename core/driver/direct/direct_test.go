package direct

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/driver"
)

func TestNspawnIsToldWhatTheTemplateUnitTells(t *testing.T) {
	m := driver.Machine{Name: "my-box.1", Tree: "/srv/my-box.1", Interface: "ve-my-box.1"}
	want := []string{
		"--quiet", "--register=no", "--keep-unit", "--boot", "--settings=override", "--link-journal=no",
		"--console=read-only", "-U", "--network-veth", "--machine=my-box.1", "--directory=/srv/my-box.1",
	}
	if diff := cmp.Diff(want, arguments(m, true)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWithoutTrustedSettingsNoneAreRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "box.nspawn"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"box": "--settings=override", "other": "--settings=no"} {
		args := strings.Join(arguments(driver.Machine{Name: name}, trustedSettings([]string{"/nowhere", dir}, name)), " ")
		if !strings.Contains(args, want) {
			t.Errorf("%s: %s", name, args)
		}
	}
}

func TestMachineWithoutALinkIsPrivate(t *testing.T) {
	args := strings.Join(arguments(driver.Machine{Name: "box"}, false), " ")
	if !strings.Contains(args, "--private-network") || strings.Contains(args, "--network-veth") {
		t.Error(args)
	}
}

func TestNameNeverLeadsOutOfTheRuntimeDirectory(t *testing.T) {
	d := New(Config{RuntimeDir: "/run/x"})
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc"} {
		if f, err := d.files(name); err == nil {
			t.Errorf("%q leads to %s", name, f.dir)
		}
	}
	f, err := d.files("my-box.1")
	if err != nil || f.dir != "/run/x/machines/my-box.1" {
		t.Errorf("%v, %v", f, err)
	}
}

func TestUnknownMachineIsStoppedAndSilent(t *testing.T) {
	d := New(Config{RuntimeDir: t.TempDir()})
	s, err := d.Status(t.Context(), "none")
	if diff := cmp.Diff(driver.Status{State: driver.Stopped}, s); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if lines, err := d.Console(t.Context(), "none", 5); err != nil || len(lines) != 0 {
		t.Errorf("%q, %v", lines, err)
	}
	if entries, err := os.ReadDir(d.config.RuntimeDir); err != nil || len(entries) != 0 {
		t.Errorf("asking left %v, %v", entries, err)
	}
}

func TestStateWithoutALockMeansNothing(t *testing.T) {
	d := New(Config{RuntimeDir: t.TempDir()})
	f, err := d.files("box")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// The supervisor was killed, and its leader's number now is ours.
	if err := writeJSON(f.state(), state{Supervisor: os.Getpid(), Leader: os.Getpid(), Ready: true}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err := d.Status(t.Context(), "box"); err != nil || s.State != driver.Stopped {
			t.Errorf("%+v, %v", s, err)
		}
		// Nor does a lock file that nobody holds.
		if err := os.WriteFile(f.lock(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLockIsHeldByOneAndSurvivesItsRemoval(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "lock")
	first, err := acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := held(path); !h || err != nil {
		t.Errorf("held: %v, %v", h, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := acquire(short, path); !errors.Is(err, errHeld) {
		t.Errorf("a second holder: %v", err)
	}
	// Whoever waits for the file of a machine that is removed must not end
	// up holding a lock that nobody else can see.
	got := make(chan error, 1)
	go func() {
		second, err := acquire(t.Context(), path)
		if err == nil {
			var h bool
			h, err = held(path)
			if err == nil && !h {
				err = errors.New("it holds a file that is not there")
			}
			err = errors.Join(err, second.Close())
		}
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestLockExcludesWhileItsDirectoryComesAndGoes(t *testing.T) {
	f := files{filepath.Join(t.TempDir(), "box")}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				l, err := acquire(t.Context(), f.lock())
				if err != nil {
					t.Error(err)
					return
				}
				if !mu.TryLock() {
					t.Error("two hold it at once")
					return
				}
				if err := writeJSON(f.state(), state{}); err != nil {
					t.Error(err)
				}
				mu.Unlock() // with the directory, the lock is gone
				if err := errors.Join(f.removeAll(), l.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestSecondSignalInsistsAndTheFirstDoesNot(t *testing.T) {
	tests := []struct {
		name            string
		signals         []os.Signal
		asked, insisted bool
	}{
		{"a hangup", []os.Signal{syscall.SIGHUP}, false, false},
		{"asked", []os.Signal{syscall.SIGTERM}, true, false},
		{"twice", []os.Signal{syscall.SIGTERM, syscall.SIGINT}, true, true},
		{"three times", []os.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGTERM}, true, true},
		{"by force", []os.Signal{syscall.SIGUSR1}, true, true},
		{"asked, hung up", []os.Signal{syscall.SIGTERM, syscall.SIGHUP}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &stopper{make(chan struct{}), make(chan struct{}), make(chan os.Signal)}
			done := make(chan struct{})
			go func() { defer close(done); s.follow(t.Context()) }()
			for _, sig := range tt.signals {
				s.signals <- sig
			}
			close(s.signals)
			<-done
			if is(s.asked) != tt.asked || is(s.insisted) != tt.insisted {
				t.Errorf("asked %v, insisted %v", is(s.asked), is(s.insisted))
			}
		})
	}
}

func TestEndOfTheContextAsksOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &stopper{make(chan struct{}), make(chan struct{}), make(chan os.Signal)}
	go s.follow(ctx)
	cancel()
	<-s.asked
	s.signals <- syscall.SIGTERM // the one that ended the context
	s.signals <- syscall.SIGHUP  // taken only once the first was dealt with
	if is(s.insisted) {
		t.Error("one wish was taken for two")
	}
	close(s.signals)
}

func TestSupervisorsLastWordDecides(t *testing.T) {
	tests := []struct {
		name, said string
		warnings   []string
		busy       bool
		err        string // part of it
		ended      bool
	}{
		{"ready", `{"ready":true}`, nil, false, "", false},
		{"warned", `{"warning":"a"}` + "\n" + `{"warning":"b"}` + "\n" + `{"ready":true}`, []string{"a", "b"}, false, "", false},
		{"busy", `{"busy":true}`, nil, true, "", false},
		{"failed", `{"error":"no disk"}`, nil, false, "no disk", false},
		{"ended", `{"ended":true,"error":"execv failed"}`, nil, false, "execv failed", true},
		{"silent", "", nil, false, "without a word", false},
		{"garbage", "panic: x", nil, false, "panic: x", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.WriteString(tt.said + "\n"); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			var warnings []string
			d := New(Config{Warn: func(s string) { warnings = append(warnings, s) }})
			n := d.follow(r)
			if tt.said == "" {
				n = d.follow(r) // nothing but the end
			}
			busy, err := n.outcome()
			if busy != tt.busy || errors.Is(err, driver.ErrEnded) != tt.ended || (err != nil) != (tt.err != "") {
				t.Errorf("%v, %v", busy, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q in it", err, tt.err)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStateFilesAreForRootOnly(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "state.json")
	if err := writeJSON(path, state{Leader: 4711}); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	var got state
	if err := readJSON(path, &got); err != nil || got.Leader != 4711 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := readJSON(path, &got); err == nil || !strings.Contains(err.Error(), "state.json") {
		t.Errorf("half a file: %v", err)
	}
}
