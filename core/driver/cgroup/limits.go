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
	loose      bool // bounds nothing: what a new group has
}

// period is that of cpu.max, in microseconds: the kernel's default.
const period = 100_000

// UsualWeight is the io.weight of a group that was given none.
const UsualWeight = 100

// settings are all limits of a group. A limit that is not set is what the
// kernel gives a new group. disk is that of the tree; without one there is no
// bandwidth to bound.
func settings(l spec.Limits, disk string) []setting {
	amount := func(field, controller, file string, v uint64) setting {
		return setting{field, controller, file, number(v), !bounds(v)}
	}
	cpu := "max " + strconv.Itoa(period)
	if bounds(l.CPUQuota) {
		cpu = fmt.Sprintf("%d %d", l.CPUQuota*period/100, period)
	}
	weight := l.IOWeight
	if weight == 0 {
		weight = UsualWeight
	}
	s := []setting{
		{"limits.cpu-quota", "cpu", "cpu.max", cpu, !bounds(l.CPUQuota)},
		amount("limits.memory-max", "memory", "memory.max", l.MemoryMax),
		amount("limits.memory-high", "memory", "memory.high", l.MemoryHigh),
	}
	if disk != "" {
		most := number(l.IOBandwidth)
		s = append(s, setting{
			"limits.io-bandwidth", "io", "io.max",
			fmt.Sprintf("%s rbps=%s wbps=%s", disk, most, most), !bounds(l.IOBandwidth),
		})
	}
	return append(s,
		setting{"limits.io-weight", "io", "io.weight", "default " + strconv.FormatUint(weight, 10), l.IOWeight == 0},
		amount("limits.tasks-max", "pids", "pids.max", l.TasksMax))
}

// bounds tells whether a value of a limit is a bound.
func bounds(v uint64) bool { return v != 0 && v != spec.Infinity }

func number(n uint64) string {
	if !bounds(n) {
		return "max"
	}
	return strconv.FormatUint(n, 10)
}

// Unenforced names the limits of l that cannot hold on this host for a machine
// whose tree is there, each with the reason. A limit that was lifted always
// holds.
func (h Host) Unenforced(l spec.Limits, tree string) []string {
	var missing []string
	disk, noDisk := "", error(nil)
	if bounds(l.IOBandwidth) {
		disk, noDisk = Disk(tree)
	}
	for _, s := range settings(l, disk) {
		if reason := h.unenforced(s); reason != "" && !s.loose {
			missing = append(missing, s.field+": "+reason)
		}
	}
	if noDisk != nil {
		missing = append(missing, fmt.Sprintf("limits.io-bandwidth: %v", noDisk))
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

// Limit makes the limits of the group those of l, also those that l does not
// set, and returns what the kernel did not take, each with the reason. Those
// that Unenforced names are left out.
func (g Group) Limit(l spec.Limits, tree string) []string {
	disk, err := Disk(tree)
	if err != nil {
		disk = "" // Unenforced says why
	}
	var refused []string
	for _, s := range settings(l, disk) {
		if err := g.set(s); err != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", s.field, err))
		}
	}
	return refused
}

func (g Group) set(s setting) error {
	file := filepath.Join(g.Unified(), s.file)
	if s.loose {
		err := write(file, s.value)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing there bounds it
		}
		return err
	}
	if g.host.unenforced(s) != "" {
		return nil
	}
	if err := enable(g.host.Unified, s.controller); err != nil {
		return err
	}
	return write(file, s.value)
}

// Exists tells whether the group is there.
func (g Group) Exists() bool {
	for _, dir := range g.dirs() {
		if _, err := os.Stat(dir); err == nil {
			return true
		}
	}
	return false
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

// Limits reads back from the kernel what bounds the group of a machine whose
// tree is there. What is not bounded is Infinity, what cannot be known 0.
func (g Group) Limits(tree string) spec.Limits {
	dir := g.Unified()
	if dir == "" {
		return spec.Limits{}
	}
	return spec.Limits{
		CPUQuota:    quota(read(dir, "cpu.max")),
		MemoryMax:   parseNumber(read(dir, "memory.max")),
		MemoryHigh:  parseNumber(read(dir, "memory.high")),
		IOBandwidth: bandwidth(filepath.Join(dir, "io.max"), tree),
		IOWeight:    parseNumber(strings.TrimPrefix(read(dir, "io.weight"), "default ")),
		TasksMax:    parseNumber(read(dir, "pids.max")),
	}
}

// Usage is what the group uses now: memory in bytes, and processes with their
// threads. What cannot be known is 0.
func (g Group) Usage() (memory, tasks uint64) {
	dir := g.Unified()
	if dir == "" {
		return 0, 0
	}
	return parseNumber(read(dir, "memory.current")), parseNumber(read(dir, "pids.current"))
}

// bandwidth reads the larger of the two of the tree's disk from a file with a
// line for each disk that is bounded.
func bandwidth(file, tree string) uint64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	disk, err := Disk(tree)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != disk {
			continue
		}
		var most uint64
		for _, f := range fields[1:] {
			if name, value, _ := strings.Cut(f, "="); name == "rbps" || name == "wbps" {
				most = max(most, parseNumber(value))
			}
		}
		return most
	}
	return spec.Infinity
}

// Differs tells whether what the kernel says of a limit is something else than
// what it was given: it counts memory in pages, and much is unlimited to it.
// What cannot be known is no difference.
func Differs(name string, kernel, wanted uint64) bool {
	const endless = 1 << 62 // bytes; past what the kernel counts
	switch {
	case kernel == 0 || kernel == wanted:
		return false
	case strings.HasPrefix(name, "memory-"):
		page := uint64(os.Getpagesize()) //nolint:gosec // positive
		return kernel != wanted-wanted%page && (kernel != spec.Infinity || wanted < endless)
	}
	return true
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
