package host

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What is said of a mount is compared with what the kernel says when asked in
// another way; what needs root is tried by the integration tests.
func TestMountsAreFoundByPath(t *testing.T) {
	m, err := mountOf("/proc/self/status")
	if err != nil || m.FSType != "proc" {
		t.Errorf("/proc/self/status is on %+v, %v", m, err)
	}
	below, err := MountsBelow("/")
	if err != nil || !slices.Contains(below, "/proc") || slices.Contains(below, "/") {
		t.Errorf("below / there are %q, %v", below, err)
	}
	dir := t.TempDir()
	if below, err := MountsBelow(dir); err != nil || len(below) > 0 {
		t.Errorf("below an empty directory there are %q, %v", below, err)
	}
}

func TestOwnersAreMappedOrTheReasonIsSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a mount needs root")
	}
	if err := MapsOwners("/proc/self"); err == nil {
		t.Error("proc is said to map owners, which it cannot")
	}
	if err := MapsOwners(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("what is missing is said to map owners")
	}
	before, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_ = MapsOwners(t.TempDir()) // either answer is right
	}
	if after, err := os.ReadDir("/proc/self/fd"); err != nil || len(after) > len(before) {
		t.Errorf("%d files were open, and now %d, %v", len(before), len(after), err)
	}
}
