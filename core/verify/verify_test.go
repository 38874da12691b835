package verify

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestWhatIsNoImageIsRefusedWithAHint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]Target{
		"none":                      {},
		"two":                       {Tree: dir, Image: file},
		"a tree that is not":        {Tree: filepath.Join(dir, "none")},
		"a file for a tree":         {Tree: file},
		"a directory for a file":    {Image: dir},
		"an image that is not":      {Image: filepath.Join(dir, "none")},
		"a check without a command": {Tree: dir, Checks: []string{""}},
	} {
		_, err := Run(t.Context(), target, nil)
		var e *Error
		if !errors.As(err, &e) || !e.Input || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	var invalid spec.Invalid
	if _, err := Run(t.Context(), Target{Tree: dir, Name: "../x"}, nil); !errors.As(err, &invalid) {
		t.Errorf("a name that is none: %v", err)
	}
}

func TestAUnitThatFailedIsCountedOnce(t *testing.T) {
	for _, tt := range []struct {
		name     string
		units    []string
		sshFails bool
		ok       bool
		says     string
	}{
		{"of a check that failed", []string{"ssh.service"}, true, true, "see the check sshd"},
		{"of a check that passed", []string{"ssh.service"}, false, false, "ssh.service"},
		{"of nobody", []string{"cheese.service"}, true, false, "cheese.service"},
	} {
		e := &examination{failed: tt.units, tell: func(Check) {}, machine: &machine{}}
		e.report.BootSeconds = 1
		e.report.Checks = []Check{{Name: Booted}, {Name: SSH, OK: !tt.sshFails}}
		e.settle(t.Context(), Check{Name: Booted, Detail: "degraded: failed units: " + strings.Join(tt.units, ", ")})
		if c := e.report.Checks[0]; c.OK != tt.ok || !strings.Contains(c.Detail, tt.says) {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
}

func TestWhatNeedsAFailedCheckIsSkippedAndNoFault(t *testing.T) {
	e := &examination{tell: func(Check) {}, machine: &machine{}}
	e.report.Checks = []Check{{Name: Booted, OK: true}, {Name: Address}}
	e.check(t.Context(), DNS, func(context.Context) finding {
		t.Error("it was tried")
		return finding{}
	}, Address)
	c := e.report.Checks[2]
	if c.OK || !c.Skipped || !strings.Contains(c.Detail, Address) {
		t.Errorf("%+v", c)
	}
	var failed []string
	for _, c := range e.report.Failed() {
		failed = append(failed, c.Name)
	}
	if !slices.Equal(failed, []string{Address}) {
		t.Errorf("failed: %q", failed)
	}
}

func TestAReportThatIsNotOKSaysWhy(t *testing.T) {
	late := Check{Name: SSH, Skipped: true, Detail: "not tried"}
	for want, checks := range map[string][]Check{
		"":                         {{Name: Booted, OK: true}},
		"sshd: not tried":          {{Name: Booted, OK: true}, late},
		"address: none":            {{Name: Address, Detail: "none"}, late},
		"address: none; dns: none": {{Name: Address, Detail: "none"}, {Name: DNS, Detail: "none"}, late},
	} {
		if got := (Report{Checks: checks}).Faults(); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

func TestTheEndOfWhatACommandPrintsIsKept(t *testing.T) {
	k := &tail{limit: 8}
	for range 1000 {
		if n, err := k.Write([]byte("abcde\n")); n != 6 || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := k.String(); got != "e\nabcde\n" {
		t.Errorf("%q", got)
	}
	if len(k.text) > 16 {
		t.Errorf("it holds %d bytes", len(k.text))
	}
}

func TestRangesOfUsersAreThoseOfMachines(t *testing.T) {
	for range 1000 {
		if who := anyRange(); who.base < firstRange || who.base > lastRange || who.base%rangeSize != 0 {
			t.Fatalf("%#x", who.base)
		}
	}
}

func TestTheReportIsReadByItsNames(t *testing.T) {
	text, err := json.Marshal(Report{OK: true, BootSeconds: 1.5, Checks: []Check{{Name: Booted, OK: true, Detail: "running", Seconds: 1.5}}})
	const want = `{"ok":true,"checks":[{"name":"booted","ok":true,"detail":"running","seconds":1.5}],"bootSeconds":1.5}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

func TestTheImagesRootIsNeverTheHosts(t *testing.T) {
	for want, args := range map[string][]string{
		"--private-users=524288:65536":   arguments("image", users{524288}, 257),
		"--private-users-ownership=auto": arguments("image", users{}, 252),
		"--private-users-chown":          arguments("image", users{}, 247),
	} {
		if !slices.Contains(args, want) || slices.Contains(args, "-U") {
			t.Errorf("want %s in %q", want, args)
		}
	}
}

func TestARunLeavesTheHostMemory(t *testing.T) {
	for memory, want := range map[uint64]bounds{
		512 << 20: {512 << 20, 256 << 20, mostTasks},
		1 << 30:   {1 << 30, 512 << 20, mostTasks},
		4 << 30:   {2 << 30, 1 << 30, mostTasks},
		64 << 30:  {8 << 30, 2 << 30, mostTasks},
	} {
		if got := boundsOf(memory); got != want {
			t.Errorf("of %d MiB it takes %+v, want %+v", memory>>20, got, want)
		}
	}
}
