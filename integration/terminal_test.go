//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// soon is how long what takes a moment may take on a busy machine.
const soon = time.Minute

// sit starts a program at a terminal of the host.
func sit(t *testing.T, h *testhost.Host, args ...string) *testhost.Terminal {
	t.Helper()
	return h.StartOnTerminal(t, 33, 111, testhost.Command{Args: args, Env: []string{"TERM=xterm"}})
}

// see waits until something is printed.
func see(t *testing.T, s *testhost.Terminal, pattern string) {
	t.Helper()
	if !s.Await(s.Stdout, soon, regexp.MustCompile(pattern).MatchString) {
		t.Fatalf("%q is not printed:\n%q", pattern, s.Stdout)
	}
}

// isUp waits until a program has printed "up".
func isUp(t *testing.T, p *testhost.Process) {
	t.Helper()
	if !p.Await(p.Stdout, soon, func(text string) bool { return strings.Contains(text, "up") }) {
		t.Fatalf("it does not run: %s%s", p.Stdout, p.Stderr)
	}
}

// TestATerminalInAMachineIsLikeOneOfTheHost is what people who sit at one do:
// they resize it, interrupt what runs, and close it.
func TestATerminalInAMachineIsLikeOneOfTheHost(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			create(t, h, fixture("box")...)
			h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-ec", "useradd -m -s /bin/bash kim; useradd -s /bin/false lee; useradd -s /bin/nosuchshell sam; echo kim:secret | chpasswd")
			for name, test := range map[string]func(*testing.T, *testhost.Host){
				"it is resized":                   resized,
				"keys reach the command alone":    keysReachTheCommand,
				"signals reach the command":       signalsReachTheCommand,
				"signals at a terminal":           signalsAtATerminal,
				"who cannot log in is told so":    whoCannotLogIn,
				"logging in again and again":      loggingInAgain,
				"a value may have commas":         valuesWithCommas,
				"a machine plants no multiplexer": plantedMultiplexer,
			} {
				t.Run(name, func(t *testing.T) { test(t, h) })
			}
		})
	}
}

func resized(t *testing.T, h *testhost.Host) {
	for verb, args := range map[string][]string{
		"exec": {"nspawn-build", "exec", "-t", "box", "bash", "--norc"}, "shell": {"nspawn-build", "shell", "box"}, "login": {"nspawn-build", "login", "box"},
	} {
		s := sit(t, h, args...)
		if verb == "login" {
			for _, step := range [][2]string{{"login: ", "kim\r"}, {"assword: ", "secret\r"}} {
				see(t, s, step[0])
				s.Type(t, step[1])
			}
		}
		see(t, s, `[#$] $`)
		s.Type(t, "echo \"<$(stty size)>\"\r")
		see(t, s, "<33 111>")
		// Whatever waits for the signal there gets it.
		s.Type(t, "trap 'echo \"[$(stty size)]\"' WINCH; echo trap i''s set\r")
		see(t, s, "trap is set")
		s.Resize(t, 44, 99)
		for deadline := time.Now().Add(soon); !strings.Contains(s.Stdout.String(), "[44 99]"); {
			s.Type(t, "\r") // a trap runs after a command
			time.Sleep(50 * time.Millisecond)
			if time.Now().After(deadline) {
				t.Fatalf("%s: it is not told of the new size: %q", verb, s.Stdout)
			}
		}
		s.Resize(t, 20, 60)
		s.Resize(t, 21, 61)
		s.Type(t, "while test \"$(stty size)\" != '21 61'; do sleep 0.1; done; echo \"<$(stty size)>\"\r")
		see(t, s, "<21 61>")
		if verb == "login" {
			s.Type(t, "\x1d\x1d\x1d")
		} else {
			s.Type(t, "exit 5\r")
		}
		if r := s.Wait(t, soon); (verb == "login") != (r.Exit == 0) {
			t.Errorf("%s ended with %d", verb, r.Exit)
		}
	}
}

func keysReachTheCommand(t *testing.T, h *testhost.Host) {
	s := sit(t, h, "nspawn-build", "exec", "-t", "box", "bash", "-c", `trap 'echo interrupted by a key' INT; sleep 4714 & echo up; wait; echo still here; read -r x; exit 6`)
	isUp(t, s.Process)
	s.Type(t, "\x03")
	see(t, s, "interrupted by a key\r\nstill here")
	s.Type(t, "x\r")
	if r := s.Wait(t, soon); r.Exit != 6 {
		t.Errorf("a command that handles ^C ended with %d", r.Exit)
	}
	s = sit(t, h, "nspawn-build", "exec", "-t", "box", "bash", "--norc")
	see(t, s, `[#$] $`)
	s.Type(t, "echo u''p; sleep 4714\r")
	isUp(t, s.Process)
	h.Eventually(t, soon, "pgrep", "-f", "^sleep 4714$")
	s.Type(t, "\x03")
	s.Type(t, "echo \"<${?}>\"\r")
	see(t, s, "<130>")
	s.Type(t, "exit 5\r")
	if r := s.Wait(t, soon); r.Exit != 5 {
		t.Errorf("a shell ended with %d", r.Exit)
	}
}

func signalsReachTheCommand(t *testing.T, h *testhost.Host) {
	for signal, exit := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		for _, c := range []struct {
			script string
			exit   int
			prints string
		}{
			{"echo up; exec sleep 4715", exit, "up\n"},
			{"trap 'echo tidied; exit 4' INT TERM HUP; sleep 4715 & echo up; wait", 4, "up\ntidied\n"},
			{"(trap '' INT TERM HUP; exec sleep 4715) & sleep 0.2; echo up; wait", exit, "up\n"},
		} {
			p := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "exec", "box", "sh", "-c", c.script}})
			isUp(t, p)
			if err := p.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if r := p.Wait(t, soon); r.Exit != c.exit || r.Stdout != c.prints || r.Stderr != "" {
				t.Errorf("%v to %q: %s", signal, c.script, r)
			}
			if r := h.Run(t, "pgrep", "-f", "^sleep 4715$"); r.Exit == 0 {
				t.Errorf("%v to %q: something still runs", signal, c.script)
			}
		}
	}
	// timeout(1) sends its signal twice.
	r := h.Run(t, "timeout", "5", "nspawn-build", "exec", "box", "sh", "-c", "trap 'sleep 1; echo tidied; exit 4' TERM; sleep 4715 & wait")
	if r.Exit != 124 || r.Stdout != "tidied\n" {
		t.Errorf("under timeout: %s", r)
	}
	p := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "exec", "box", "sh", "-c", "trap '' INT; sleep 4715 & echo up; while :; do wait; sleep 0.1; done"}})
	isUp(t, p)
	for ended := false; !ended; {
		_ = p.Signal(syscall.SIGINT) // it may have ended
		select {
		case <-p.Ended():
			ended = true
		case <-time.After(500 * time.Millisecond):
		}
	}
	if r := p.Wait(t, soon); r.Exit != exitKilled {
		t.Errorf("one that takes no notice: %s", r)
	}
	if r := h.Run(t, "pgrep", "-f", "^sleep 4715$"); r.Exit == 0 {
		t.Error("of one that takes no notice something still runs")
	}
}

func signalsAtATerminal(t *testing.T, h *testhost.Host) {
	const cooked = syscall.ICANON | syscall.ECHO | syscall.ISIG
	for _, verb := range []string{"exec -t", "shell"} {
		for signal, exit := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
			args := append(append([]string{"nspawn-build"}, strings.Fields(verb)...), "box", "sh", "-c", "echo up; exec sleep 4716")
			s := sit(t, h, args...)
			isUp(t, s.Process)
			if s.Mode(t).Lflag&cooked != 0 {
				t.Errorf("%s: the terminal is not raw", verb)
			}
			if err := s.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if r := s.Wait(t, soon); r.Exit != exit {
				t.Errorf("%s, %v: %s", verb, signal, r)
			}
			if s.Mode(t).Lflag&cooked != cooked {
				t.Errorf("%s, %v: the terminal stays raw", verb, signal)
			}
			if r := h.Run(t, "pgrep", "-f", "^sleep 4716$"); r.Exit == 0 {
				t.Errorf("%s, %v: something still runs", verb, signal)
			}
		}
	}
}

func whoCannotLogIn(t *testing.T, h *testhost.Host) {
	for user, words := range map[string]string{"lee": "/bin/false, lets nobody in", "sam": "/bin/nosuchshell, is not there"} {
		s := sit(t, h, "nspawn-build", "shell", user+"@box")
		r := s.Wait(t, soon)
		if r.Exit != exitUsage || !strings.Contains(r.Stdout, words) || !strings.Contains(r.Stdout, "hint: nspawn-build exec --user "+user) {
			t.Errorf("%s: %s", user, r)
		}
		// Nothing of this needs a shell.
		s = sit(t, h, "nspawn-build", "exec", "-t", "--user", user, "box", "id", "-un")
		if r := s.Wait(t, soon); r.Exit != 0 || !strings.Contains(r.Stdout, user) {
			t.Errorf("exec as %s: %s", user, r)
		}
	}
}

// loggingInAgain is more often than a service manager starts a unit in a while.
func loggingInAgain(t *testing.T, h *testhost.Host) {
	for i := range 8 {
		s := sit(t, h, "nspawn-build", "login", "box")
		see(t, s, "login: ")
		s.Type(t, "\x1d\x1d\x1d")
		if r := s.Wait(t, soon); r.Exit != 0 {
			t.Fatalf("login %d: %s", i+1, r)
		}
	}
	// Logging out gives the next prompt, on the same terminal.
	s := sit(t, h, "nspawn-build", "login", "box")
	for i := range 8 {
		again := fmt.Sprintf(`(?s)(login: .*){%d}$`, i+1)
		see(t, s, again)
		s.Type(t, "kim\r")
		see(t, s, fmt.Sprintf(`(?s)(assword: .*){%d}`, i+1))
		s.Type(t, "secret\r")
		see(t, s, fmt.Sprintf(`(?s)(\$ .*){%d}`, i+1))
		s.Type(t, "exit\r")
	}
	s.Type(t, "\x1d\x1d\x1d")
	if r := s.Wait(t, soon); r.Exit != 0 {
		t.Errorf("after logging out: %s", r)
	}
	if r := h.Run(t, "nspawn-build", "exec", "box", "systemctl", "list-units", "--all", "--plain", "--no-legend", "container-getty@*"); strings.Contains(r.Stdout, "failed") {
		t.Errorf("a prompt has failed: %s", r)
	}
}

func valuesWithCommas(t *testing.T, h *testhost.Host) {
	const script = `echo "$A|$B"`
	for _, args := range [][]string{
		{"exec", "--env", "A=1,2", "--env", "B= x,", "box", "sh", "-c", script},
		{"shell", "--setenv", "A=1,2", "--setenv", "B= x,", "box", "sh", "-c", script},
	} {
		if r := h.Run(t, append([]string{"nspawn-build"}, args...)...); r.Exit != 0 || r.Stdout != "1,2| x,\n" {
			t.Errorf("%q: %s", args, r)
		}
	}
	h.MustRun(t, "mkdir", "-p", "/srv/a,b")
	if r := h.Run(t, fixture("commas", "--label", "tier=1,b=2")...); r.Exit != exitUsage || !strings.Contains(r.Stderr, `"tier=1,b=2"`) {
		t.Errorf("a label is taken for two: %s", r)
	}
	if r := h.Run(t, fixture("commas", "--publish", "8080:80,8081:81")...); r.Exit != exitUsage || !strings.Contains(r.Stderr, `"8080:80,8081:81"`) {
		t.Errorf("a port is taken for two: %s", r)
	}
	create(t, h, fixture("commas", "--no-boot", "--bind-ro", "/srv/a,b:/mnt/c,d")...)
	if r := h.Run(t, "nspawn-build", "show", "commas", "--output", "yaml"); !strings.Contains(r.Stdout, "/srv/a,b") || !strings.Contains(r.Stdout, "/mnt/c,d") {
		t.Errorf("a bind is not as it was given: %s", r)
	}
	destroy(t, h, "commas")
}

// plantedMultiplexer is last what its name says, and tries a pipe.
func plantedMultiplexer(t *testing.T, h *testhost.Host) {
	h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-ec", "readlink /dev/ptmx > /run/ptmx; rm /dev/ptmx; mkfifo /dev/ptmx")
	defer h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-ec", `rm /dev/ptmx; ln -s "$(cat /run/ptmx)" /dev/ptmx`)
	for _, verb := range []string{"shell", "login", "exec -t"} {
		args := append(append([]string{"nspawn-build"}, strings.Fields(verb)...), "box")
		if verb == "exec -t" {
			args = append(args, "true")
		}
		s := sit(t, h, args...)
		if r := s.Wait(t, soon); r.Exit == 0 || !strings.Contains(r.Stdout, "/dev/ptmx in the machine: is not the device that it should be") {
			t.Errorf("%s: %s", verb, r)
		}
	}
}
