package inside

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// running is a command that has printed its first line, "up".
type running struct {
	signals chan os.Signal
	ended   chan result
	out     *transcript
}

type result struct {
	code int
	err  error
}

type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
	up chan struct{}
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := strings.Contains(s.b.String(), "up")
	s.b.Write(p)
	if !before && strings.Contains(s.b.String(), "up") {
		close(s.up)
	}
	return len(p), nil
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// heedAll keeps what is started from ignoring signals, although whoever started
// the tests had them ignore some, as nohup(1) does and a shell with "&".
func heedAll(t *testing.T) {
	t.Helper()
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT} {
		if signal.Ignored(s) {
			c := make(chan os.Signal, 1)
			signal.Notify(c, s)
			t.Cleanup(func() { signal.Stop(c); signal.Ignore(s) })
		}
	}
}

func runSignaled(t *testing.T, script string, terminal bool) *running {
	t.Helper()
	heedAll(t)
	r := &running{make(chan os.Signal, 8), make(chan result, 1), &transcript{up: make(chan struct{})}}
	c := Command{Leader: machineWithTerminals(t), Argv: []string{"sh", "-c", script}, Stdout: r.out, Signals: r.signals}
	if terminal {
		c.Terminal = &Terminal{}
		in, w := io.Pipe()
		t.Cleanup(func() { _ = w.Close() })
		c.Stdin = in
	}
	go func() {
		code, err := c.Run(t.Context())
		r.ended <- result{code, err}
	}()
	select {
	case <-r.out.up:
	case got := <-r.ended:
		t.Fatalf("it ended early: %+v, %q", got, r.out)
	}
	return r
}

func machineWithTerminals(t *testing.T) int {
	t.Helper()
	pid := machine(t, false, "sh", "-ec", `mount --make-rprivate /; mount -t tmpfs tmpfs /mnt; touch /mnt/null; mount --bind /dev/null /mnt/null
		mkdir /mnt/pts; mount -t devpts -o ptmxmode=666 devpts /mnt/pts; ln -s pts/ptmx /mnt/ptmx; mknod /mnt/tty c 5 0; mount --move /mnt /dev
		exec "$@"`, "sh")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err != nil || string(name) == "sleep\n" {
			return pid
		}
		if time.Now().After(deadline) {
			t.Fatal("the machine is not set up")
		}
	}
}

// leftRunning tells whether anything still has the word in its command line. It
// is asked once: when Run has returned it must be over.
func leftRunning(word string) bool {
	return exec.Command("pgrep", "-f", "^sleep "+word+"$").Run() == nil
}

func TestASignalReachesTheCommandAndItEndsInItsOwnWay(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		for name, c := range map[string]struct {
			script string
			signal syscall.Signal
			code   int
			says   string
		}{
			"it cleans up":              {`trap 'echo cleaned; exit 9' TERM; sleep 4801 & echo up; wait`, syscall.SIGTERM, 9, "cleaned"},
			"it dies of SIGTERM":        {`echo up; exec sleep 4801`, syscall.SIGTERM, 143, ""},
			"it dies of SIGINT":         {`echo up; exec sleep 4801`, syscall.SIGINT, 130, ""},
			"it dies of SIGHUP":         {`echo up; exec sleep 4801`, syscall.SIGHUP, 129, ""},
			"it ends well":              {`trap 'exit 0' INT; sleep 4801 & echo up; wait`, syscall.SIGINT, 0, ""},
			"a child takes no notice":   {`(trap '' TERM; sleep 4801; sleep 4801) & echo up; wait`, syscall.SIGTERM, 143, ""},
			"a child has its own group": {`trap 'exit 4' TERM; set -m; sleep 4801 & echo up; wait`, syscall.SIGTERM, 4, ""},
		} {
			t.Run(name, func(t *testing.T) {
				r := runSignaled(t, c.script, terminal)
				r.signals <- c.signal
				got := <-r.ended
				if got.err != nil || got.code != c.code || !strings.Contains(r.out.String(), c.says) {
					t.Errorf("terminal %v: %+v, want %d; it printed %q", terminal, got, c.code, r.out)
				}
				if leftRunning("4801") {
					t.Error("something still runs")
				}
			})
		}
	}
}

func TestWhatTakesNoNoticeIsKilledByTheSecondSignal(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		r := runSignaled(t, `trap 'echo heard' TERM; sleep 4802 & echo up; while :; do wait; sleep 0.05; done`, terminal)
		r.signals <- syscall.SIGTERM
		r.signals <- syscall.SIGTERM // two that come together are one
		for deadline := time.Now().Add(8 * time.Second); !strings.Contains(r.out.String(), "heard"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("terminal %v: it has not heard: %q", terminal, r.out)
			}
		}
		time.Sleep(2 * together)
		r.signals <- syscall.SIGTERM
		if got := <-r.ended; got.err != nil || got.code != 137 {
			t.Errorf("terminal %v: %+v", terminal, got)
		}
		if leftRunning("4802") {
			t.Errorf("terminal %v: something still runs", terminal)
		}
	}
}

func TestWhatTakesNoNoticeIsKilledAfterAWhile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the 10 seconds that a command has")
	}
	r := runSignaled(t, `trap '' INT; sleep 4803 & echo up; wait`, false)
	r.signals <- syscall.SIGINT
	if got := <-r.ended; got.err != nil || got.code != 137 {
		t.Errorf("%+v", got)
	}
	if leftRunning("4803") {
		t.Error("something still runs")
	}
}

// TestACommandHasNoTerminalOfTheHost has one that is run from a terminal and
// given pipes try to get at it.
func TestACommandHasNoTerminalOfTheHost(t *testing.T) {
	pid := machineWithTerminals(t)
	for _, c := range []Command{{}, {Signals: make(chan os.Signal)}} {
		c.Leader, c.Argv = pid, []string{"sh", "-c", "cut -d' ' -f6,7 /proc/self/stat; exec 3</dev/tty && echo it can be opened"}
		out, _, err := c.Output(t.Context(), 1000)
		f := strings.Fields(string(out))
		if err != nil || len(f) != 2 || f[1] != "0" {
			t.Errorf("session and terminal are %q, %v", out, err)
		}
		if f[0] == strconv.Itoa(sessionOf(t)) {
			t.Error("the command is in the session of who runs it")
		}
	}
}

func sessionOf(t *testing.T) int {
	t.Helper()
	sid, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	return sid
}
