// Package hostlink is what this host does for the link of one machine beyond
// what systemd-nspawn and networkd do: published ports, the bounds of what the
// machine may reach and, where no networkd configures the host's end, its
// address, masquerading and forwarding.
//
// All rules of a machine are in one nftables table of its own, put in place in
// one step before the machine's first packet and taken away in one step. The
// table is found by its name; no rule of anybody else is ever touched, nor is
// any service started, and nothing outlives a reboot of the host.
package hostlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver/veth"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Verb is the hidden verb under which this program keeps the link of a machine
// that systemd boots.
const Verb = "hostlink"

// Link is what is to be done for which machine.
type Link struct {
	Machine   string
	Interface string       // the host's end
	HostSide  netip.Prefix // the host's address there
	Address   netip.Prefix // the machine's
	DNS       []netip.Addr // the servers that the machine asks
	Publish   []spec.Publish
	Egress    spec.Egress
	// Builtin says that nobody else gives the host's end its address, or
	// masquerades, or forwards.
	Builtin bool
}

// Needed tells whether there is anything to do.
func (l Link) Needed() bool {
	return l.Interface != "" && (l.Builtin || len(l.Publish) > 0 || l.Egress != spec.EgressAny)
}

// Config is how a link is kept.
type Config struct {
	RuntimeDir string // where it is noted who needs forwarding: /run/nspawn-build
	// Warn is told what does not keep the machine from starting.
	Warn func(message string)
	// Next says what the link is to be when the machine boots again; nil where
	// nothing changes while a keeper lives.
	Next func() (Link, error)
}

// Keeper holds a link as it should be.
type Keeper struct {
	config Config

	mu     sync.Mutex
	link   Link
	index  int    // of the link when it was last looked at; 0 when there was none
	stale  bool   // it has not been made what it is to be since
	closed ranges // what the set of the table holds now
	rules  counts // what the table held when it was made
	ports  *ports
}

// Open puts everything in place that must be there before the machine's first
// packet. What was there of an earlier run is replaced. When it fails, the
// machine must not start.
//
// Where the link is there already, the machine runs, and whoever kept it was
// killed. Then nothing is taken away from what bounds it, whatever fails.
func Open(ctx context.Context, c Config, l Link) (*Keeper, error) {
	k := &Keeper{config: c, link: l}
	if !l.Needed() {
		return k, Remove(ctx, c, l.Machine)
	}
	if l.Egress != spec.EgressAny && !l.Address.IsValid() {
		return nil, fmt.Errorf("the address of %s is not known: what it reaches cannot be bounded", l.Machine)
	}
	var beyond []string // why it cannot reach beyond this host
	if l.Builtin && l.HostSide.Addr().Is4() {
		if err := startForwarding(ctx, c.RuntimeDir, l.Machine); err != nil {
			beyond = append(beyond, err.Error())
		}
	}
	if err := k.install(); err != nil {
		if len(l.Publish) > 0 || l.Egress != spec.EgressAny {
			return nil, k.giveUp(ctx, err)
		}
		beyond = append(beyond, err.Error())
	}
	var err error
	if k.ports, err = openPorts(ctx, l); err != nil {
		if running, lookErr := veth.Exists(l.Interface); lookErr != nil || !running {
			return nil, k.giveUp(ctx, errors.Join(err, lookErr))
		}
		c.Warn(fmt.Sprintf("what is sent to published ports of %s over loopback is not relayed until it is started again: %v", l.Machine, err))
	}
	if len(beyond) > 0 {
		c.Warn(fmt.Sprintf("%s can be reached from this host but cannot reach beyond it: %s", l.Machine, strings.Join(beyond, "; ")))
	}
	return k, nil
}

// RunsError says that what bounds a machine has to stay, for the machine runs.
type RunsError struct {
	Machine string
	Err     error // why it was to go; nil where nothing is wrong
}

func (e *RunsError) Error() string {
	text := e.Machine + " runs: the rules of its network stay as they are"
	if e.Err != nil {
		text = e.Err.Error() + "; " + text
	}
	return text
}

// Unwrap is why.
func (e *RunsError) Unwrap() error { return e.Err }

// giveUp takes everything away again after a failure, unless the machine runs.
func (k *Keeper) giveUp(ctx context.Context, err error) error {
	if running, lookErr := veth.Exists(k.link.Interface); lookErr != nil || running {
		return &RunsError{k.link.Machine, errors.Join(err, lookErr)}
	}
	return errors.Join(err, Remove(ctx, k.config, k.link.Machine))
}

// gone is how long the link of a machine that has ended may take to go.
const gone = 5 * time.Second

// End takes away whatever was put in place, once the machine has ended. While
// it runs the rules are what keeps it from what it may not reach: then they
// stay, whoever ended the keeper, and the error is a RunsError.
func (k *Keeper) End(ctx context.Context) error {
	k.Close()
	if k.link.Interface != "" {
		wait, cancel := context.WithTimeout(ctx, gone)
		defer cancel()
		if err := veth.WaitGone(wait, k.link.Interface); err != nil {
			return &RunsError{Machine: k.link.Machine}
		}
	}
	return Remove(ctx, k.config, k.link.Machine)
}

// Connect waits for the link and gives the host's end its address, where that
// is ours to do. A machine that reboots has a new link.
func (k *Keeper) Connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := veth.Wait(ctx, k.link.Interface); err != nil {
		return err
	}
	if !k.link.Builtin || !k.link.HostSide.IsValid() {
		return nil
	}
	return veth.Configure(k.link.Interface, k.link.HostSide)
}

// Close ends what the keeper does itself: relaying to published ports. The
// rules stay until Remove.
func (k *Keeper) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closePorts()
}

func (k *Keeper) closePorts() {
	if k.ports != nil {
		k.ports.close()
	}
}

// Remove takes away whatever was put in place for a machine, by this process
// or by another. That there is nothing is no error.
func Remove(ctx context.Context, c Config, machine string) error {
	return errors.Join(removeTable(machine), removeSocket(c.RuntimeDir, machine), stopForwarding(ctx, c.RuntimeDir, machine))
}
