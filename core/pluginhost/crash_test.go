package pluginhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// asHost makes the test binary a host that is then killed.
const asHost = "PLUGINHOST_TEST_AS_HOST"

// hostThatIsKilled bootstraps until it is killed. Its arguments are the
// directories of the plugins, of the sessions and of the target, and a mark.
func hostThatIsKilled() int {
	h := &Host{Directories: []string{os.Args[1]}, RuntimeDir: os.Args[2]}
	grants := Grants{Target: os.Args[3]}
	l := Listing{Name: "messy", Path: filepath.Join(os.Args[1], sdk.BinaryPrefix+"messy")}
	s, err := h.Start(context.Background(), l, grants)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	req := grants.request()
	req.Options = map[string]string{"mark": os.Args[4], "then": "wait"}
	_, err = s.Bootstrap(context.Background(), req, speaker{})
	fmt.Println(err)
	return 1
}

// speaker prints the lines that it is told.
type speaker struct{}

func (speaker) Phase(string)           {}
func (speaker) Progress(sdk.Progress)  {}
func (speaker) Line(text string)       { fmt.Println(text) }
func (speaker) Warning(_, hint string) { fmt.Println(hint) }

func TestNothingOfAPluginOutlivesAHostThatIsKilled(t *testing.T) {
	h := newHost(t)
	target := t.TempDir()
	mark := "killed-" + filepath.Base(h.RuntimeDir)
	cmd := exec.CommandContext(t.Context(), os.Args[0], shelf, h.RuntimeDir, target, mark) //nolint:gosec // itself
	cmd.Env = append(os.Environ(), asHost+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if strings.TrimSpace(line) != "messed" {
		t.Fatalf("the host printed %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the host was not killed")
	}
	awaitGone(t, mark)
	// What is left in the runtime directory goes with the next session.
	startGood(t, h, "good", jobGrants(t))
}

func TestAPluginThatIsKilledIsSaidToBeDead(t *testing.T) {
	for name, c := range map[string]struct {
		victim func(*Session) int
		want   string
	}{
		"the plugin": {
			func(s *Session) int { return pluginOf(t, s) },
			"the wait plugin died (killed by SIGKILL)",
		},
		"its first process": {
			func(s *Session) int { return s.process.running.Process.Pid },
			"the wait plugin died (killed with its namespace)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			grants := jobGrants(t)
			s := startGood(t, h, "wait", grants)
			victim := c.victim(s)
			_, err := s.Bootstrap(t.Context(), grants.request(), onLine(func() {
				if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}))
			if !errors.Is(err, ErrPluginDied) || err.Error() != c.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// pluginOf is the number of the plugin's process, as the host counts.
func pluginOf(t *testing.T, s *Session) int {
	t.Helper()
	pid := s.process.running.Process.Pid
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	return child
}

// onLine is called with the first line.
type onLine func()

func (onLine) Phase(string)           {}
func (onLine) Progress(sdk.Progress)  {}
func (f onLine) Line(string)          { f() }
func (onLine) Warning(string, string) {}
