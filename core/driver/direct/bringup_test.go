package direct

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

func TestReporterSaysNothingAfterItsLastWord(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	report := &reporter{to: w}
	report.say(news{Warning: "first"})
	report.say(news{Ready: true})
	report.unlessTold(news{Error: "never"})
	report.close()
	var got []news
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var n news
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if diff := cmp.Diff([]news{{Warning: "first"}, {Ready: true}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStarterThatWentDoesNotDisturbTheSupervisor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	report := &reporter{to: w}
	report.say(news{Warning: "nobody hears"})
	report.say(news{Ready: true})
}

func TestReporterWithoutADescriptorIsSilent(t *testing.T) {
	for _, value := range []string{"", "x", "0", "2", "-1"} {
		t.Setenv(newsVariable, value)
		if report := openReporter(); report.to != nil {
			t.Errorf("%q: reports to %s", value, report.to.Name())
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
