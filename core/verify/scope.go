package verify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
)

// scope has the service manager give a process a cgroup that is its own to
// divide, and returns that. It is gone as soon as nothing runs in it.
func scope(ctx context.Context, name string, pid int, most bounds) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	bus, err := sddbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return "", &Error{Problem: "the service manager of this host does not answer: " + err.Error(), Hint: "see that D-Bus runs: systemctl status dbus.service"}
	}
	defer bus.Close()
	property := func(name string, value any) sddbus.Property {
		return sddbus.Property{Name: name, Value: dbus.MakeVariant(value)}
	}
	done := make(chan string, 1)
	_, err = bus.StartTransientUnitContext(ctx, name, "fail", []sddbus.Property{
		property("Description", "nspawn-build verify"),
		property("Slice", "machine.slice"),
		property("PIDs", []uint32{uint32(pid)}),
		property("Delegate", true),
		property("MemoryMax", most.Memory),
		property("MemorySwapMax", uint64(0)),
		property("TasksMax", most.Tasks),
		property("CollectMode", "inactive-or-failed"),
	}, done)
	if err != nil {
		return "", fmt.Errorf("a scope for the run: %w", err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return "", fmt.Errorf("a scope for the run: its job ended %q", result)
		}
	case <-ctx.Done():
		return "", fmt.Errorf("a scope for the run: %w", context.Cause(ctx))
	}
	return groupOf(pid)
}

// groupOf reads which cgroup systemd has put a process into.
func groupOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("the cgroup of the run: %w", err)
	}
	for _, hierarchy := range []string{":name=systemd:", "0::"} {
		for line := range strings.Lines(string(text)) {
			_, path, found := strings.Cut(strings.TrimSpace(line), hierarchy)
			if found && strings.HasSuffix(path, ".scope") {
				return strings.TrimPrefix(path, "/"), nil
			}
		}
	}
	return "", fmt.Errorf("the cgroup of the run is none of a scope: %q", text)
}

// scopeGone waits until the service manager has removed the scope's cgroup.
func scopeGone(ctx context.Context, group string) error {
	hierarchies, err := cgroup.Find()
	if err != nil {
		return err
	}
	for _, root := range hierarchies.Roots() {
		for {
			if _, err := os.Stat(filepath.Join(root, group)); err != nil {
				break
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("the service manager does not remove the cgroup %s: %w", group, context.Cause(ctx))
			}
		}
	}
	return nil
}
