package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
)

func TestCommandRunsInTheMachinesCgroupSoThatItsLimitsHold(t *testing.T) {
	host, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	if host.Unified == "" {
		t.Skip("needs cgroup v2")
	}
	group := host.Group(fmt.Sprintf("nspawn-build-test-inside-%d", os.Getpid()))
	if err := group.Create(); err != nil {
		t.Skip("needs writable cgroups: ", err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		if err := errors.Join(group.Kill(ctx), group.Remove(ctx)); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- group.Start(cmd)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var before []int
	if before, err = group.Processes(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = Command{Leader: cmd.Process.Pid, Argv: []string{"sleep", "50"}}.Run(ctx)
	}()
	deadline := time.Now().Add(5 * time.Second)
	for {
		now, err := group.Processes()
		if err != nil {
			t.Fatal(err)
		}
		if len(now) > len(before) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the command is not in the machine's group")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	<-done
}

func TestReaderThatWentEndsTheCommand(t *testing.T) {
	pid := machine(t, true)
	begin := time.Now()
	code, err := Command{Leader: pid, Argv: []string{"yes"}, Stdout: refusing{}}.Run(t.Context())
	if err != nil || code != exitSignal+int(syscall.SIGPIPE) {
		t.Errorf("%d, %v", code, err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestInputThatIsNotReadIsDropped(t *testing.T) {
	pid := machine(t, true)
	code, err := Command{Leader: pid, Argv: []string{"true"}, Stdin: bytes.NewReader(make([]byte, 8<<20))}.Run(t.Context())
	if err != nil || code != 0 {
		t.Errorf("%d, %v", code, err)
	}
}

func TestMissingInputIsEmptyAndNotTheHosts(t *testing.T) {
	pid := machine(t, true)
	out, code, err := Command{Leader: pid, Argv: []string{"sh", "-c", "cat; echo end"}}.Output(t.Context(), 100)
	if err != nil || code != 0 || string(out) != "end\n" {
		t.Errorf("%q, %d, %v", out, code, err)
	}
}

func TestCommandThatCannotBeRunIsAnError(t *testing.T) {
	pid := machine(t, true)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		ctx     context.Context
		command Command
		want    string // part of the error
	}{
		{"no command", t.Context(), Command{Leader: pid}, "no command given"},
		{"an empty command", t.Context(), Command{Leader: pid, Argv: []string{""}}, "no command given"},
		{"already cancelled", canceled, Command{Leader: pid, Argv: []string{"true"}}, "canceled"},
		{"a bad variable", t.Context(), Command{Leader: pid, Argv: []string{"true"}, Env: []string{"LD_PRELOAD=x"}}, "LD_PRELOAD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.command.Run(tt.ctx)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	t.Run("no nsenter", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := (Command{Leader: pid, Argv: []string{"true"}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "util-linux") {
			t.Errorf("got %v", err)
		}
	})
}

func TestManyCommandsAtOnceDoNotMixTheirStreams(t *testing.T) {
	pid := machine(t, true)
	results := make(chan error)
	const n = 20
	for i := range n {
		go func() {
			out, code, err := Command{Leader: pid, Argv: []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i)}}.Output(t.Context(), 100)
			if err == nil && (code != i || string(out) != fmt.Sprintf("%d\n", i)) {
				err = fmt.Errorf("number %d: %q, exit %d", i, out, code)
			}
			results <- err
		}()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
