package main

import (
	"testing"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestALimitIsShownAsItWasAndIs(t *testing.T) {
	for want, c := range map[string]limitChange{
		"512M, was 1G; the kernel has 512M, had 1G":          {Before: "1G", After: "512M", KernelBefore: "1G", Kernel: "512M"},
		"50%, was not set; the kernel has 50%, had infinity": {After: "50%", KernelBefore: "infinity", Kernel: "50%"},
		"not set, was 50%":      {Before: "50%"},
		"50%":                   {Before: "50%", After: "50%"},
		"1G; the kernel has 1G": {Before: "1G", After: "1G", KernelBefore: "1G", Kernel: "1G"},
	} {
		if got := c.String(); got != want {
			t.Errorf("%+v reads %q, want %q", c, got, want)
		}
	}
}

func TestOnlyALimitThatWasGivenIsMissed(t *testing.T) {
	out := machines.Limited{After: machines.Bounded{
		Unenforced: []string{"limits.memory-max: no controller", "limits.tasks-max: no controller"},
		Bounds:     driver.Bounds{Outranked: []driver.Outranked{{Limit: "memory-max", Value: "1G", File: "FILE"}, {Limit: "cpu-quota", Value: "70%", File: "FILE"}}},
	}}
	out.After.Limits = spec.Limits{MemoryMax: 1 << 29, TasksMax: 100}
	changes := changesOf(out, map[string]string{"memory-max": "512M", "cpu-quota": ""})
	if len(changes) != 2 || changes[1].NotHeld != "no controller, and is 1G by FILE" || changes[0].NotHeld != "" {
		t.Errorf("%+v", changes)
	}
	if err := notHeld("box", changes); err == nil || judge(t.Context(), err).code != exitHost {
		t.Errorf("err = %v", err)
	}
	if err := notHeld("box", changes[:1]); err != nil {
		t.Errorf("a limit that was unset: %v", err)
	}
}
