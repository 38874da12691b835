package direct

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/driver/nspawn"
)

// settingsDirs hold the settings that systemd-nspawn trusts.
var settingsDirs = []string{"/etc/systemd/nspawn", "/run/systemd/nspawn"}

// arguments are those of the template unit systemd-nspawn@.service, with what
// a missing service manager and machined change.
func arguments(m driver.Machine, trusted bool) []string {
	// Without a trusted file systemd-nspawn would read the one beside the
	// tree, which whoever made the tree may have put there.
	settings := "no"
	if trusted {
		settings = "override"
	}
	network := "--network-veth"
	if m.Interface == "" {
		network = "--private-network"
	}
	return []string{
		"--quiet", "--register=no", "--keep-unit", "--boot",
		"--settings=" + settings,
		"--link-journal=no", // nothing on this host would read it
		"--console=read-only",
		"-U", network,
		"--machine=" + m.Name,
		"--directory=" + m.Tree,
	}
}

func trustedSettings(dirs []string, name string) bool {
	for _, dir := range dirs {
		if _, err := os.Stat(dir + "/" + name + ".nspawn"); err == nil {
			return true
		}
	}
	return false
}

// launch starts systemd-nspawn in the machine's cgroup.
func (s *supervisor) launch() (*nspawn.Process, error) {
	if err := s.group.Create(); err != nil {
		return nil, err
	}
	for _, refused := range s.limit() {
		s.report.say(news{Warning: "limit not enforced: " + refused})
	}
	c := nspawn.Command{
		Machine: s.machine.Name, Arguments: arguments(s.machine, trustedSettings(settingsDirs, s.machine.Name)),
		Notify: s.notify(), Identity: s.identity(), Group: s.group, Console: s.log,
	}
	if scheme := addr.Pin(s.machine.Name, s.machine.Interface); scheme != "" {
		c.Env = []string{"NET_NAMING_SCHEME=" + scheme} // rules go by the link's name
	}
	return c.Start()
}

// outcome is what the exit of systemd-nspawn means.
func outcome(n *nspawn.Process, wasUp, asked bool, failure error) (code int, err error) {
	if code, err = n.Finish(); err != nil {
		return 0, err
	}
	switch {
	case wasUp, asked, code == exitReboot:
		return code, nil
	case failure != nil && !errors.Is(failure, context.Canceled) && !errors.Is(failure, leader.ErrGone):
		return code, failure
	}
	return code, fmt.Errorf("%w (exit status %d)", driver.ErrEnded, code)
}
