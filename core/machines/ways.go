package machines

import (
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// AsksHost tells whether a machine asks this host for names, over its link.
func AsksHost(m store.Machine) bool {
	return Reaches(m) && m.Spec.Network.DNS.Mode == spec.DNSHost
}

// Ways are what the firewalls of this host are to let through for a machine.
// The host's networkd gives it no address by DHCP, nor does anybody else.
func Ways(m store.Machine) []host.Way {
	var ways []host.Way
	machine := m.Address.Addr()
	if m.Interface == "" || m.Spec.Network.Private {
		return nil
	}
	if Reaches(m) {
		ways = append(ways, host.WayBeyond(m.Interface, machine))
	}
	if AsksHost(m) {
		ways = append(ways, host.WayToNames(m.Interface, machine, m.HostSide.Addr()))
	}
	for _, p := range m.Spec.Network.Publish {
		if !p.Address.IsLoopback() { // that is relayed, and not passed on
			ways = append(ways, host.WayToPort(m.Interface, machine, host.Port{
				Name: p.String(), Protocol: p.Protocol, Address: p.Address, Host: p.Host, Machine: p.Machine,
			}))
		}
	}
	return ways
}

// KeepsNames tells whether a firewall that blocks a way of a machine is why no
// name resolves in it. What this host answers, it asks for itself.
func KeepsNames(m store.Machine, b host.Blockade) bool {
	if AsksHost(m) {
		return b.Way.Purpose == host.Names
	}
	return b.Way.Purpose == host.Beyond
}
