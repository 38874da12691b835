package sdk_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// shell runs a script and returns what it printed.
func shell(ctx context.Context, c sdk.Command, script string) ([]string, error) {
	var lines []string
	c.Argv = []string{"sh", "-c", script}
	printed := c.OnLine
	c.OnLine = func(l string) {
		lines = append(lines, l)
		if printed != nil {
			printed(l)
		}
	}
	err := c.Run(ctx)
	return lines, err
}

func TestAToolSeesNothingOfItsCaller(t *testing.T) {
	t.Setenv("PLUGIN_CLIENT_CERT", "secret")
	t.Setenv("NSPAWN_BUILD_PLUGIN", "cookie")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("TMPDIR", "/var/tmp")
	for _, proxy := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "ftp_proxy", "FTP_PROXY"} {
		t.Setenv(proxy, "")
	}
	t.Setenv("https_proxy", "http://proxy.example.org:3128")
	got, err := shell(t.Context(), sdk.Command{Env: []string{"EXTRA=1", "LANG=C"}}, "env; pwd; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l")
	if err != nil {
		t.Fatal(err)
	}
	got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, "PWD=") || strings.HasPrefix(l, "_=") })
	slices.Sort(got[:len(got)-3])
	want := []string{
		"EXTRA=1", "HOME=/home/somebody", "LANG=C",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TMPDIR=/var/tmp", "https_proxy=http://proxy.example.org:3128",
		"/", "/dev/null", "4", // ls itself opens the fourth
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAFailedToolIsAFailureWithItsLastLines(t *testing.T) {
	_, err := shell(t.Context(), sdk.Command{}, "seq 60; echo 'E: no' >&2; exit 25")
	var failure *sdk.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %T: %v", err, err)
	}
	if failure.Code != sdk.CodeTool || failure.Message != "sh failed with exit status 25" {
		t.Errorf("got %+v", failure)
	}
	if n := len(failure.Tail); n != 50 || failure.Tail[n-1] != "E: no" || failure.Tail[n-2] != "60" {
		t.Errorf("the tail is %q", failure.Tail)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 25 {
		t.Errorf("the cause is %v", failure.Err)
	}
	_, err = shell(t.Context(), sdk.Command{}, "kill -SEGV $$")
	if !errors.As(err, &failure) || failure.Message != "sh failed with signal SIGSEGV" {
		t.Errorf("killed by a signal: %v", err)
	}
}

func TestAMissingToolIsTheHostsFault(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("no-such-tool", []byte("#!/bin/sh\n"), 0o755); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	for _, env := range [][]string{nil, {"PATH=."}, {"PATH="}} {
		err := sdk.Command{Argv: []string{"no-such-tool"}, Env: env}.Run(t.Context())
		var failure *sdk.Failure
		if !errors.As(err, &failure) || failure.Code != sdk.CodeHostNotReady || failure.Hint == "" {
			t.Errorf("with %q: %v", env, err)
		}
	}
	if err := (sdk.Command{}).Run(t.Context()); err == nil {
		t.Error("a command without a program ran")
	}
	if got := sdk.FindTool("no-such-tool", "sh"); got == "" {
		t.Error("sh was not found")
	}
	if got := sdk.FindTool("no-such-tool", ""); got != "" {
		t.Errorf("found %q", got)
	}
}

func TestStatusLinesComeFromDescriptorThree(t *testing.T) {
	var mu sync.Mutex
	var status []string
	lines, err := shell(t.Context(), sdk.Command{Status: func(l string) {
		mu.Lock()
		defer mu.Unlock()
		status = append(status, l)
	}}, "echo 'pmstatus:dpkg:50' >&3; echo out; printf '\\033[1mbold\\n'")
	expect(t, []string{"out", "bold"}, lines, err)
	expect(t, []string{"pmstatus:dpkg:50"}, status, nil)
}

func TestNothingOfAToolOutlivesIt(t *testing.T) {
	const canceled = "sh was cancelled: context canceled"
	for name, c := range map[string]struct {
		script string
		cancel bool   // at its first line
		want   string // of the error
	}{
		"left in the background":  {"sleep 60 & echo $!", false, ""},
		"cancelled":               {"sleep 60 & echo $!; wait", true, canceled},
		"cancelled, ignores TERM": {"trap '' TERM INT; sleep 60 & echo $!; while :; do sleep 60; done", true, canceled},
		"cancelled, exits with 0": {"trap 'exit 0' TERM; sleep 60 & echo $!; wait", true, canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			onLine := func(string) {
				if c.cancel {
					cancel()
				}
			}
			began := time.Now()
			lines, err := shell(ctx, sdk.Command{Grace: 200 * time.Millisecond, OnLine: onLine}, c.script)
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if got := errorText(err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if len(lines) != 1 {
				t.Fatalf("lines are %q", lines)
			}
			pid, err := strconv.Atoi(lines[0])
			if err != nil {
				t.Fatal(err)
			}
			awaitGone(t, pid)
		})
	}
}

func TestADaemonThatHoldsTheOutputDoesNotHoldTheCaller(t *testing.T) {
	began := time.Now()
	lines, err := shell(t.Context(), sdk.Command{}, "setsid sleep 60 & echo $!")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if err != nil || len(lines) != 1 {
		t.Fatalf("%q, %v", lines, err)
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	// It left the group, which only the host's namespace can catch.
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestAContextThatIsOverStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := t.TempDir() + "/mark"
	_, err := shell(ctx, sdk.Command{}, "touch "+mark)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tool ran: %v", err)
	}
}

func TestAFloodOfOutputIsReadInBoundedMemory(t *testing.T) {
	count := 0
	c := sdk.Command{
		Argv:   []string{"sh", "-c", "head -c 50000000 /dev/zero; echo; yes | head -n 200000"},
		OnLine: func(l string) { count += len(l) },
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if count < 200000 || count > 200000+sdk.MaxText {
		t.Errorf("%d bytes of lines", count)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// awaitGone fails unless pid is gone or a zombie soon.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for range 100 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d lives on", pid)
}
