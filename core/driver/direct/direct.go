// Package direct boots machines on a host whose PID 1 is not systemd: a CI
// container, WSL, a minimal host.
//
// Each machine has a supervisor, a process of this same program that runs
// systemd-nspawn and does what the service manager, machined and networkd
// would: a cgroup with limits, the address of the host's end of the link,
// masquerading, starting again on reboot, and leaving nothing behind. A
// machine runs as long as its supervisor holds the machine's lock or anything
// is left in its cgroup; no process number in a file is ever trusted.
//
// It never writes into a tree and never trusts settings beside one: a machine
// is set up by /etc/systemd/nspawn/NAME.nspawn or by nothing.
package direct

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/hostlink"
)

// Verb is the hidden verb under which this program supervises a machine.
const Verb = "supervise"

// Config is how the driver works. The zero value of a field is its default.
type Config struct {
	// Self is the command that supervises; the machine's name is appended.
	// The default is this program with Verb.
	Self []string
	// RuntimeDir is where everything about running machines is kept; the
	// default is /run/nspawn-build. The supervisor must be given the same.
	RuntimeDir string
	// ConsoleLimit bounds the file that keeps a machine's console, in
	// bytes; the default is 1 MiB.
	ConsoleLimit int64
	// Grace is how long a machine that is asked to power off by a signal to
	// its supervisor may take; the default is 90 seconds. Stop brings its
	// own.
	Grace time.Duration
	// Warn is told what does not stop a machine but should be known, one
	// line each. The default drops it.
	Warn func(message string)
}

// Driver is the driver "direct". It is safe for use from several goroutines.
type Driver struct{ config Config }

var _ driver.Driver = (*Driver)(nil)

// New returns the driver.
func New(c Config) *Driver {
	if len(c.Self) == 0 {
		c.Self = []string{"/proc/self/exe", Verb}
	}
	if c.RuntimeDir == "" {
		c.RuntimeDir = "/run/nspawn-build"
	}
	if c.ConsoleLimit == 0 {
		c.ConsoleLimit = 1 << 20
	}
	if c.Grace == 0 {
		c.Grace = 90 * time.Second
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	return &Driver{config: c}
}

// Name returns "direct".
func (*Driver) Name() string { return "direct" }

// Unenforced names the limits that need a cgroup v2 controller which this
// host lacks or keeps to itself.
func (*Driver) Unenforced(m driver.Machine) []string {
	host, err := cgroup.Find()
	if err != nil {
		host = cgroup.Host{}
	}
	return host.Unenforced(m.Limits, m.Tree)
}

func (d *Driver) hostlinks(warn func(string)) hostlink.Config {
	return hostlink.Config{RuntimeDir: d.config.RuntimeDir, Warn: warn}
}

// linkOf is what a machine's link needs of this host, on which no networkd
// configures it.
func linkOf(m driver.Machine) hostlink.Link {
	return hostlink.Link{
		Machine: m.Name, Interface: m.Interface, HostSide: m.HostSide, Address: m.Address,
		DNS: m.DNS, Publish: m.Publish, Egress: m.Egress, Builtin: true,
	}
}

// files are the paths of one machine's runtime files.
type files struct{ dir string }

func (d *Driver) files(name string) (files, error) {
	if name == "" || strings.ContainsRune(name, '/') || !filepath.IsLocal(name) || name == "." {
		return files{}, fmt.Errorf("%q is not a machine's name", name)
	}
	return files{filepath.Join(d.machines(), name)}, nil
}

func (d *Driver) machines() string { return filepath.Join(d.config.RuntimeDir, "machines") }

func (f files) description() string { return filepath.Join(f.dir, "machine.json") }
func (f files) state() string       { return filepath.Join(f.dir, "state.json") }
func (f files) grace() string       { return filepath.Join(f.dir, "grace.json") }
func (f files) lock() string        { return filepath.Join(f.dir, "supervisor.lock") }
func (f files) identity() string    { return filepath.Join(f.dir, "machine-id") }
func (f files) console() string     { return filepath.Join(f.dir, "console.log") }
func (f files) notify() string      { return filepath.Join(f.dir, "notify") }

// group is the machine's cgroup.
func group(name string) (cgroup.Group, error) {
	host, err := cgroup.Find()
	if err != nil {
		return cgroup.Group{}, err
	}
	return host.Group(groupName(name)), nil
}

func groupName(machine string) string { return "nspawn-build-" + machine }
