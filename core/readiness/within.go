package readiness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/inside"
)

// awaitSystemd waits until systemd in the machine has started all it wanted
// to. That some of it failed is a warning.
func (p *proof) awaitSystemd(ctx context.Context) bool {
	pause := newBackoff()
	for {
		out, code, err := p.run(ctx, "systemctl", "is-system-running", "--wait")
		switch {
		case ctx.Err() != nil, isDown(err):
			return false // said elsewhere
		case err != nil:
			p.failed(&Error{Rung: SystemdUp, Message: "asking systemd in " + p.Name, Err: err})
			return false
		case code == inside.ExitNotFound:
			p.failed(&Error{Rung: SystemdUp, Message: p.Name + " has no systemctl", Hint: "only machines that run systemd can be proven: --no-boot leaves this one as it is"})
			return false
		}
		switch state := strings.TrimSpace(out); state {
		case "running":
			p.reached(SystemdUp, state)
			p.systemdUp()
			return true
		case "degraded":
			failed := FailedUnits(ctx, p.leader)
			p.results <- result{rung: Rung{Step: SystemdUp, Detail: state, Warning: named(failed), Failed: failed, After: p.elapsed()}}
			p.systemdUp()
			return true
		case "maintenance", "stopping":
			p.failed(&Error{
				Rung: SystemdUp, Message: fmt.Sprintf("systemd in %s is %s", p.Name, state),
				Hint: fmt.Sprintf("read what it printed: nspawn-build logs %s", p.Name),
			})
			return false
		}
		// It does not listen yet, or is too old to wait.
		if !pause.wait(ctx) {
			return false
		}
	}
}

// FailedUnits are those that systemd in the machine of that leader says have
// failed, as far as it can be asked.
func FailedUnits(ctx context.Context, leader int) []string {
	out, code, err := inside.Command{
		Leader: leader,
		Argv:   []string{"systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager", "--full"},
	}.Output(ctx, 1<<20)
	if err != nil || code != 0 {
		return nil
	}
	return unitNames(string(out))
}

// named is the warning about units that failed.
func named(units []string) string {
	if len(units) == 0 {
		return "some units failed"
	}
	return "failed units: " + strings.Join(units, ", ")
}

// unitNames returns the first word of each line. A machine is hostile: what
// could not be a unit's name is left out.
func unitNames(list string) []string {
	var units []string
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) == 0 || len(fields[0]) > 255 || strings.ContainsFunc(fields[0], func(r rune) bool { return r <= ' ' || r > '~' }) {
			continue
		}
		units = append(units, fields[0])
		if len(units) == 20 {
			break
		}
	}
	return units
}

// awaitAddress waits until a link of the machine has its address, told by the
// kernel in the machine's network namespace.
func (p *proof) awaitAddress(ctx context.Context) bool {
	link, err := p.addressed(ctx)
	switch {
	case ctx.Err() != nil, isDown(err):
		return false // said elsewhere
	case err != nil:
		p.failed(&Error{Rung: Addressed, Message: "looking at the links of " + p.Name, Err: err})
		return false
	}
	p.reached(Addressed, fmt.Sprintf("%s on %s", p.Address, link))
	return true
}

func (p *proof) addressed(ctx context.Context) (link string, err error) {
	l, err := leader.Open(p.leader)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	file, err := l.OpenFile("ns/net")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	ns := netns.NsHandle(file.Fd())

	updates := make(chan netlink.AddrUpdate, 64)
	done := make(chan struct{})
	if err := netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{Namespace: &ns, ErrorCallback: func(error) {}}); err != nil {
		return "", fmt.Errorf("watching the machine's addresses: %w", err)
	}
	defer func() {
		close(done)
		go func() { // until the reader, which there is from here on, closes it
			for range updates { //nolint:revive // the library's reader blocks on a full channel
			}
		}()
	}()
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return "", fmt.Errorf("looking at the machine's addresses: %w", err)
	}
	defer handle.Close()
	return p.watchAddresses(ctx, handle, updates)
}

func (p *proof) watchAddresses(ctx context.Context, handle *netlink.Handle, updates <-chan netlink.AddrUpdate) (string, error) {
	again := time.NewTicker(500 * time.Millisecond) // an announcement can get lost
	defer again.Stop()
	for {
		link, err := owner(handle, p.Address)
		if err != nil || link != "" {
			return link, err
		}
		select {
		case _, ok := <-updates:
			if !ok {
				updates = nil
			}
		case <-again.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// owner returns the name of the link that has the address and is up.
func owner(handle *netlink.Handle, address netip.Addr) (string, error) {
	addrs, err := handle.AddrList(nil, netlink.FAMILY_ALL)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return "", nil // looked at again soon
	}
	if err != nil {
		return "", fmt.Errorf("listing the machine's addresses: %w", err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || ip.Unmap() != address {
			continue
		}
		link, err := handle.LinkByIndex(a.LinkIndex)
		if err != nil {
			return "", nil //nolint:nilerr // it went meanwhile
		}
		if attrs := link.Attrs(); attrs.Flags&net.FlagUp != 0 {
			return attrs.Name, nil
		}
	}
	return "", nil
}

// asking is how long one attempt at resolving a name may take.
const asking = 10 * time.Second

// resolve looks the probe host up inside. Where this host cannot resolve it
// either, nothing can be said about the machine: that is a warning.
func (p *proof) resolve(ctx context.Context) {
	pause := newBackoff()
	deadline := time.Now().Add(asking)
	for {
		attempt, cancel := context.WithDeadline(ctx, deadline)
		out, code, err := p.run(attempt, "getent", "hosts", p.ProbeHost)
		cancel()
		if ctx.Err() != nil || isDown(err) {
			return // said elsewhere
		}
		if err == nil && code == 0 {
			address, _, _ := strings.Cut(strings.TrimSpace(out), " ")
			if _, perr := netip.ParseAddr(address); perr == nil {
				p.reached(Resolves, fmt.Sprintf("%s is %s", p.ProbeHost, address))
				return
			}
		}
		if time.Now().After(deadline) || !pause.wait(ctx) {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	host, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(host, p.ProbeHost); err != nil {
		p.warned(Resolves, "not known", fmt.Sprintf("%s could not be resolved, nor can this host resolve it", p.ProbeHost))
		return
	}
	p.failed(p.late(Resolves, nil))
}
