package spec_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// security is the first finding about a machine with those settings.
func security(t *testing.T, change func(*spec.Input)) *spec.FieldError {
	t.Helper()
	in := good()
	change(&in)
	_, err := spec.Build(in)
	var bad spec.Invalid
	if err != nil && !errors.As(err, &bad) {
		t.Fatal(err)
	}
	return append(bad, nil)[0]
}

func TestWhatTheKernelDoesNotKnowIsRefusedWithTheNearestName(t *testing.T) {
	capability := func(name string) func(*spec.Input) {
		return func(in *spec.Input) { in.Capabilities = []string{name} }
	}
	drop := func(name string) func(*spec.Input) {
		return func(in *spec.Input) { in.DropCapabilities = []string{name} }
	}
	filter := func(name string) func(*spec.Input) {
		return func(in *spec.Input) { in.SystemCallFilter = []string{name} }
	}
	for _, tt := range []struct {
		change func(*spec.Input)
		hint   string // empty where it is right
	}{
		{capability("sys_time"), ""},
		{capability("all"), ""},
		{capability("CAP_CHECKPOINT_RESTORE"), ""},
		{capability("sys_tiem"), "did you mean CAP_SYS_TIME?"},
		{drop("net_raww"), "did you mean CAP_NET_RAW?"},
		{drop("net_raw"), ""},
		{drop("CAP_FLY"), "man 7 capabilities"},
		{filter("~ptrace"), ""},
		{filter("_llseek"), ""},
		{filter("set_tls"), ""},
		{filter("~ptrase"), "did you mean ptrace?"},
		{filter("~xyzzy"), "man 2 syscalls"},
		{filter("@system-service"), ""},
		{filter("~@mount"), ""},
		{filter("@system-services"), "did you mean @system-service?"},
		{filter("@nothing"), "systemd-analyze syscall-filter"},
		{filter("@mount\nCapability=all"), "systemd-analyze syscall-filter"},
	} {
		e := security(t, tt.change)
		switch {
		case e == nil && tt.hint != "", e != nil && (tt.hint == "" || !strings.Contains(e.Hint, tt.hint)):
			t.Errorf("want %q, got %v", tt.hint, e)
		}
	}
}

func TestEveryCapabilityOfTheKernelHasItsNumber(t *testing.T) {
	names := spec.Capabilities()
	if len(names) != unix.CAP_LAST_CAP+1 || slices.Contains(names, "") {
		t.Errorf("the kernel's last is number %d; these are the names: %q", unix.CAP_LAST_CAP, names)
	}
	kept, missing := spec.Security{
		Capabilities: []string{"CAP_SYS_TIME", "CAP_BPF"}, DropCapabilities: []string{"CAP_NET_RAW", "CAP_MKNOD"},
	}.NotHeld(1<<unix.CAP_SYS_TIME | 1<<unix.CAP_NET_RAW)
	if diff := cmp.Diff([][]string{{"CAP_NET_RAW"}, {"CAP_BPF"}}, [][]string{kept, missing}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The table holds what golang.org/x/sys knows of each architecture, and the
// calls of 32-bit ARM that no table of numbers has.
func TestTheTableOfSystemCallsIsThatOfAllArchitectures(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "zsysnum_linux_*.go"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	names := []string{"breakpoint", "cacheflush", "get_tls", "set_tls", "usr26", "usr32"}
	number := regexp.MustCompile(`(?m)^\s+SYS_([A-Z0-9_]+)\s+= [0-9]+$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range number.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains([]string{"ARCH_SPECIFIC_SYSCALL", "SYSCALL_MASK"}, m[1]) {
				names = append(names, strings.ToLower(m[1]))
			}
		}
	}
	slices.Sort(names)
	want := strings.Join(slices.Compact(names), "\n") + "\n"
	if *update {
		if err := os.WriteFile("systemcalls.txt", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("systemcalls.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("go test ./core/spec -update writes it (-want +got):\n%s", diff)
	}
}

func TestTheNearestWordIsThatOfASlip(t *testing.T) {
	known := []string{"list", "status", "start", "stop", "reboot", "set", "ssh", "debian"}
	for word, want := range map[string]string{
		"lst": "list", "lsit": "list", "statsu": "status", "strat": "start", "debain": "debian", "stopp": "stop",
		"extra": "", "test": "", "box": "", "web": "", "list": "", "": "",
	} {
		if got := spec.Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
