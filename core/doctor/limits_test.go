package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func TestEachFileThatHasTheLastWordAboutLimitsIsNamedOnceWithACommandForItAlone(t *testing.T) {
	p := &patient{exam: &exam{Doctor: &Doctor{}}, m: store.Machine{Name: "box"}}
	const mine, control = "/etc/systemd/system/systemd-nspawn@box.service.d/90-mine.conf", "/run/systemd/system.control/systemd-nspawn@box.service.d/50-MemoryMax.conf"
	const end = " && systemctl daemon-reload && nspawn-build doctor --fix box"
	var got [][3]string
	for _, f := range p.overruled([]driver.Outranked{
		{Limit: "memory-high", Value: "1G", File: mine, Directives: []string{"MemoryHigh"}, Wanted: true},
		{Limit: "memory-max", Value: "5", File: control, Directives: []string{"MemoryMax"}},
		{Limit: "tasks-max", Value: "7", File: mine, Directives: []string{"TasksMax"}},
	}) {
		if f.Fixable || f.repair != nil {
			t.Errorf("--fix would touch what is somebody else's: %+v", f)
		}
		got = append(got, [3]string{string(f.Severity), f.What, f.Fix})
	}
	want := [][3]string{
		{"error", "limits.memory-high: is 1G by " + mine + ", limits.tasks-max: is 7 by " + mine, "sed -i -E 's/^[[:space:]]*(MemoryHigh|TasksMax)[[:space:]]*=/#&/' " + quote(mine) + end},
		{"warning", "limits.memory-max: is 5 by " + control, "rm " + quote(control) + end},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOfSomebodyElsesFileOnlyTheLinesOfTheLimitGo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "it's mine.conf")
	const before = "[Service]\nMemoryHigh=1G\n  MemoryHigh = 2G\nMemoryHighX=3\nCPUWeight=50\n"
	const after = "[Service]\n#MemoryHigh=1G\n#  MemoryHigh = 2G\nMemoryHighX=3\nCPUWeight=50\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-ec", silence(file, []string{"MemoryHigh"})).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != after {
		t.Errorf("%v; it is\n%s", err, got)
	}
}

func TestALimitThatDoesNotHoldIsNamedWithWhatBoundsInstead(t *testing.T) {
	p := &patient{exam: &exam{Doctor: &Doctor{}}, m: store.Machine{Name: "box"}}
	for want, c := range map[string]pipeline.Change{
		"limits.memory-max: the kernel has infinity": {Action: "update", Subject: "limits of box", Detail: "limits.memory-max: the kernel has infinity"},
		"/etc/x/50-y.conf is missing or was changed": {Action: "create", Subject: "/etc/x/50-y.conf"},
	} {
		f := p.drifted(stages.NameLimits, c)
		if f.What != want || f.ID != "machine.limits" || !f.Fixable || f.Severity != Error || strings.Contains(f.Fix, "rm ") {
			t.Errorf("want %q, got %+v", want, f)
		}
	}
}
