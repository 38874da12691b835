// Package driver boots machines and stops them. There are two drivers behind
// one interface: systemd, which asks machined and the service manager over
// D-Bus, and direct, which supervises systemd-nspawn itself on a host whose
// PID 1 is not systemd.
//
// A driver is handed a configured tree and the files that the other stages
// wrote; it never changes the tree and never writes configuration.
package driver

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Machine is what a driver must know of a machine to boot it.
type Machine struct {
	Name      string
	Tree      string       // path of the root directory
	Interface string       // the host's end of the veth pair
	HostSide  netip.Prefix // the host's address on that link, such as 192.168.200.1/24
	Limits    spec.Limits

	Address netip.Prefix // the machine's address on that link
	DNS     []netip.Addr // the servers that it asks
	Publish []spec.Publish
	Egress  spec.Egress
}

// State is how far a machine is.
type State string

// The states.
const (
	Stopped State = "stopped"
	Running State = "running" // its PID 1 runs; nothing is said about its services
)

// Status is what a driver knows of a machine at one moment.
type Status struct {
	State  State
	Leader int       // the machine's PID 1 as this host numbers it; 0 unless running
	Since  time.Time // when the leader started; zero unless running
}

// Driver boots and stops machines.
type Driver interface {
	// Name is "systemd" or "direct".
	Name() string
	// Start boots m and returns once its leader runs and the host's end of
	// its link exists. Starting a running machine is no error.
	Start(ctx context.Context, m Machine) error
	// Stop asks m to power off and waits. When grace is over it ends it by
	// force. It returns once nothing of m runs and its link is gone.
	// Stopping a stopped machine is no error.
	Stop(ctx context.Context, m Machine, grace time.Duration) error
	// Status tells whether the machine of that name runs.
	Status(ctx context.Context, name string) (Status, error)
	// Console returns the last lines that the machine and systemd-nspawn
	// printed: what there is to read when nothing inside answers.
	Console(ctx context.Context, name string, lines int) ([]string, error)
	// Unenforced names the limits of m that this host cannot enforce, each
	// with the reason. Empty means that all of them hold.
	Unenforced(m Machine) []string
	Limiter
}

// ErrEnded is returned by Start when systemd-nspawn ended before the machine
// was up; the console says why.
var ErrEnded = errors.New("systemd-nspawn ended before the machine was up")
