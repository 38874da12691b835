package nspawn

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nspawn-build/nspawn-build/core/driver/console"
)

func tell(t *testing.T, path, message string) {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
}

func TestFirstLeaderThatIsToldOfIsTheLeader(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "notify")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // of one that was killed
		t.Fatal(err)
	}
	s, err := listenNotify(path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if pid, err := s.waitLeader(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before anything was told: %d, %v", pid, err)
	}
	for _, message := range []string{"READY=1", "STATUS=up\nX_NSPAWN_LEADER_PID=4711", "X_NSPAWN_LEADER_PID=9"} {
		tell(t, path, message)
	}
	if pid, err := s.waitLeader(t.Context()); pid != 4711 || err != nil {
		t.Errorf("%d, %v", pid, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestLeaderIsReadFromWhatNspawnSays(t *testing.T) {
	for message, want := range map[string]int{
		"STATUS=Container running.\nX_NSPAWN_LEADER_PID=4711": 4711,
		"X_NSPAWN_LEADER_PID=4711\nREADY=1\n":                 4711,
		"READY=1":                                             0,
		"":                                                    0,
		"X_NSPAWN_LEADER_PID=":                                0,
		"X_NSPAWN_LEADER_PID=1":                               0,
		"X_NSPAWN_LEADER_PID=-4":                              0,
		"STATUS=X_NSPAWN_LEADER_PID=4":                        0,
	} {
		if got := leaderIn(message); got != want {
			t.Errorf("%q: got %d, want %d", message, got, want)
		}
	}
}

func TestConsoleIsReadOnThoughItCannotBeKept(t *testing.T) {
	log, err := console.Create(filepath.Join(t.TempDir(), "console.log"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil { // a full disk would do the same
		t.Fatal(err)
	}
	rest := strings.NewReader(strings.Repeat("x", 1<<20))
	copyConsole(log, rest)
	if rest.Len() != 0 {
		t.Errorf("%d bytes are left: the machine would block on its console", rest.Len())
	}
}

func TestWatcherThatIsEndedAsksNobody(t *testing.T) {
	w, err := startWatcher()
	if err != nil {
		t.Fatal(err)
	}
	// Were it to ask, the test would be terminated.
	if err := w.watch(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	w.end()
	if w.cmd.ProcessState == nil || w.cmd.ProcessState.Success() {
		t.Errorf("it ended by itself: %v", w.cmd.ProcessState)
	}
}

func TestHostsMachineIDIsStoodInForOnlyWhenItIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine-id")
	if _, err := lacksIdentity(path); err == nil || !strings.Contains(err.Error(), "systemd-machine-id-setup") {
		t.Errorf("missing: %v", err)
	}
	for text, want := range map[string]bool{
		"":                                   true,
		"uninitialized\n":                    true,
		"0123456789abcdef0123456789abcdef\n": false,
		"0123456789abcdef\n":                 true,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := lacksIdentity(path); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
