package stages

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/store"
)

// Machines that go at the same time each write the files that name all of them,
// while the others are still on record.
func TestAMachineThatGoesIsNotWrittenBackByAnother(t *testing.T) {
	b := newBench(t)
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7q0W0l1pmdGPcG6dHmyTRMxQ6W7kz8vVNzQ0S7yTfR"
	other := b.store.NewRecord(store.Machine{Name: "other", Address: netip.MustParsePrefix("192.168.201.200/24"), HostKey: key})
	if err := other.Update(func(*store.Machine) {}); err != nil {
		t.Fatal(err)
	}
	box := &Network{Record: b.record, Machines: b.store.List}
	config, known, err := box.sshFiles(b.record.Machine(), true)
	if err != nil || !strings.Contains(string(config), "other.nspawn") || !strings.Contains(string(known), key) {
		t.Fatalf("one that stays is not named: %v\n%s%s", err, config, known)
	}
	gone := &Network{Record: other}
	if err := gone.leave(true); err != nil {
		t.Fatal(err)
	}
	if config, known, err = box.sshFiles(b.record.Machine(), true); err != nil || config != nil || known != nil {
		t.Errorf("one that goes is still named: %v\n%s%s", err, config, known)
	}
	if err := gone.leave(false); err != nil {
		t.Fatal(err)
	}
	if config, _, err = box.sshFiles(b.record.Machine(), true); err != nil || config == nil {
		t.Errorf("one that is made after all is not named: %v", err)
	}
}
