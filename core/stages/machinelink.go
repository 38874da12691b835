package stages

import (
	"slices"

	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

const pathResolver = "etc/systemd/resolved.conf.d/50-nspawn-build.conf"

// linkWishes are what the machine's end of its link wants in the tree; nothing
// where there is no link.
func linkWishes(m store.Machine) ([]wish, error) {
	if m.Spec.Network.Private {
		return nil, nil
	}
	link := unitfile.MachineNetwork{Address: m.Address, Gateway: m.HostSide.Addr(), DNS: m.DNS}
	// Without raw sockets resolved can ask the servers of no link.
	global := len(m.DNS) > 0 && slices.Contains(m.Spec.Security.DropCapabilities, "CAP_NET_RAW")
	if global {
		link.DNS = nil
	}
	network, err := link.Render()
	if err != nil {
		return nil, err
	}
	wishes := []wish{{path: pathMachineNetwork, content: network, mode: 0o644}}
	if !global {
		return wishes, nil
	}
	resolver, err := unitfile.Resolver{Servers: m.DNS}.Render()
	return append(wishes, wish{path: pathResolver, content: resolver, mode: 0o644}), err
}
