package still

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// freezing is how long processes may take to be frozen: those that wait for a
// disk are not until they have waited.
const freezing = 10 * time.Second

// groupOf is the directory of the cgroup that holds a machine and nothing else.
func groupOf(pid int) (string, error) {
	p, err := leader.Open(pid)
	if err != nil {
		return "", err
	}
	name, err := p.Cgroup()
	if err := errors.Join(err, p.Close()); err != nil {
		return "", err
	}
	host, err := cgroup.Find()
	if err != nil {
		return "", err
	}
	if host.Unified == "" || name == "" {
		return "", errors.New("it has no cgroup v2")
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	group, err := machineGroup(name, string(own))
	return filepath.Join(host.Unified, group), err
}

// machineGroup is the cgroup of a machine whose leader is in name. Below what
// systemd-nspawn calls payload the machine makes what it likes; where it has
// made no such group, the machine's systemd puts itself into init.scope.
func machineGroup(name, own string) (string, error) {
	parts := strings.Split(name, "/")
	group := strings.TrimSuffix(name, "/init.scope")
	if i := slices.Index(parts, "payload"); i > 0 {
		group = strings.Join(parts[:i+1], "/")
	}
	group = path.Clean("/" + group)
	if group == "/" {
		return "", errors.New("the machine has no cgroup of its own")
	}
	for line := range strings.Lines(own) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && strings.HasPrefix(at+"/", group+"/") {
			return "", errors.New("the machine's cgroup is that of this program too")
		}
	}
	return group, nil
}

// freeze freezes a cgroup and waits until it is. One that was frozen before is
// left so in the end.
func freeze(ctx context.Context, dir string) (thaw func() error, err error) {
	file := filepath.Join(dir, "cgroup.freeze")
	before, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("its kernel cannot freeze cgroups, Linux 5.2 can")
	}
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(before)) == "1" {
		return func() error { return nil }, nil
	}
	set := func(value string) error { return os.WriteFile(file, []byte(value), 0) }
	thaw = func() error { return set("0") }
	if err := set("1"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, freezing, errors.New("it is busy, and does not hold still"))
	defer cancel()
	for {
		events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		if err == nil && slices.Contains(strings.Split(string(events), "\n"), "frozen 1") {
			return thaw, nil
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the machine has ended: %w", err), ignoreGone(thaw()))
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), ignoreGone(thaw()))
		}
	}
}

// ignoreGone forgives that a machine that ended has no cgroup any more.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
