package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"golang.org/x/sys/unix"
)

// setting is one limit as cgroup v2 takes it.
type setting struct {
	field      string // of the spec, as the user writes it
	controller string
	file       string
	value      string
}

// period is that of cpu.max, in microseconds: the kernel's default.
const period = 100_000

func settings(l spec.Limits) []setting {
	var s []setting
	if l.CPUQuota != 0 {
		value := "max " + strconv.Itoa(period)
		if l.CPUQuota != spec.Infinity {
			value = fmt.Sprintf("%d %d", l.CPUQuota*period/100, period)
		}
		s = append(s, setting{"limits.cpu-quota", "cpu", "cpu.max", value})
	}
	if l.MemoryMax != 0 {
		s = append(s, setting{"limits.memory-max", "memory", "memory.max", number(l.MemoryMax)})
	}
	if l.IOWeight != 0 {
		s = append(s, setting{"limits.io-weight", "io", "io.weight", "default " + number(l.IOWeight)})
	}
	if l.TasksMax != 0 {
		s = append(s, setting{"limits.tasks-max", "pids", "pids.max", number(l.TasksMax)})
	}
	return s
}

func number(n uint64) string {
	if n == spec.Infinity {
		return "max"
	}
	return strconv.FormatUint(n, 10)
}

// lifted tells whether the setting takes a bound away.
func (s setting) lifted() bool { return strings.HasPrefix(s.value, "max") }

// Unenforced names the limits of l that cannot hold on this host, each with
// the reason. A limit that was lifted always holds.
func (h Host) Unenforced(l spec.Limits) []string {
	var missing []string
	for _, s := range settings(l) {
		if reason := h.unenforced(s); reason != "" && !s.lifted() {
			missing = append(missing, s.field+": "+reason)
		}
	}
	return missing
}

func (h Host) unenforced(s setting) string {
	switch {
	case h.Unified == "" || h.Hybrid:
		return "this host uses legacy cgroups, and limits need cgroup v2 alone"
	case !slices.Contains(h.Controllers(), s.controller):
		return fmt.Sprintf("this host's cgroups lack the %s controller", s.controller)
	case !h.passesOn(s.controller):
		return fmt.Sprintf("the %s controller is off in %s, which is not writable", s.controller, h.Unified)
	}
	return ""
}

// passesOn tells whether groups below the hierarchy's root have the
// controller or could be given it.
func (h Host) passesOn(controller string) bool {
	if slices.Contains(strings.Fields(read(h.Unified, "cgroup.subtree_control")), controller) {
		return true
	}
	return unix.Access(filepath.Join(h.Unified, "cgroup.subtree_control"), unix.W_OK) == nil
}

// Limit writes the limits and returns those that the kernel did not take, each
// with the reason. Those that Unenforced names are left out.
func (g Group) Limit(l spec.Limits) []string {
	var refused []string
	for _, s := range settings(l) {
		if g.host.unenforced(s) != "" {
			continue
		}
		err := enable(g.host.Unified, s.controller)
		if err == nil {
			err = write(filepath.Join(g.Unified(), s.file), s.value)
		}
		if err != nil && !(s.lifted() && errors.Is(err, fs.ErrNotExist)) { // then nothing there bounds it
			refused = append(refused, fmt.Sprintf("%s: %v", s.field, err))
		}
	}
	return refused
}

// enable makes the controller available to the groups below dir.
func enable(dir, controller string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(string(text)), controller) {
		return nil
	}
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(available)), controller) {
		return fmt.Errorf("the cgroup %s lacks the %s controller: %w", dir, controller, fs.ErrNotExist)
	}
	if err := write(file, "+"+controller); err != nil {
		return fmt.Errorf("turning on the %s controller: %w", controller, err)
	}
	return nil
}

// write writes to one of the kernel's files, which is there or is not.
func write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Limits reads back from the kernel what bounds the group. What is not bounded
// is Infinity, what cannot be known 0.
func (g Group) Limits() spec.Limits {
	dir := g.Unified()
	if dir == "" {
		return spec.Limits{}
	}
	return spec.Limits{
		CPUQuota:  quota(read(dir, "cpu.max")),
		MemoryMax: parseNumber(read(dir, "memory.max")),
		IOWeight:  parseNumber(strings.TrimPrefix(read(dir, "io.weight"), "default ")),
		TasksMax:  parseNumber(read(dir, "pids.max")),
	}
}

func read(dir, file string) string {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func parseNumber(s string) uint64 {
	if s == "max" {
		return spec.Infinity
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func quota(s string) uint64 {
	share, per, _ := strings.Cut(s, " ")
	n, p := parseNumber(share), parseNumber(per)
	if n == spec.Infinity || n == 0 || p == 0 {
		return n
	}
	return n * 100 / p
}
