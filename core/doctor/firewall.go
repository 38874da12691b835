package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/machines"
)

// firewall looks for whoever drops what machines send, or what others send to
// their published ports: for each machine that there is, or for one that might
// come.
func (e *exam) firewall(context.Context) []Finding {
	const id = "host.firewall"
	e.nameless = map[string]bool{}
	var found []Finding
	seen := map[string]bool{}
	add := func(blocked []host.Blockade) {
		for _, b := range blocked {
			if !seen[b.String()] {
				seen[b.String()] = true
				found = append(found, blockade(id, b))
			}
		}
	}
	for _, m := range e.machines {
		blocked, err := host.Blockades(machines.Ways(m)...)
		if err != nil {
			return one(untold(id, err))
		}
		for _, b := range blocked {
			if !b.Doubtful && machines.KeepsNames(m, b) {
				e.nameless[m.Name] = true
			}
		}
		add(blocked)
	}
	if len(e.machines) == 0 {
		blocked, err := host.Blockades(host.WayBeyond("ve-machine", netip.MustParseAddr("192.168.200.200")))
		if err != nil {
			return one(untold(id, err))
		}
		add(blocked)
	}
	if len(found) == 0 {
		return one(ok(id, "no firewall drops what machines send, or what is sent to their published ports"))
	}
	return found
}

// blocked is what a drop on each way means.
var blocked = map[host.Purpose]string{
	host.Beyond:    "a machine reaches this host, and nothing beyond it",
	host.Names:     "no name resolves in machines made with --dns host",
	host.Published: "other hosts do not reach the port",
}

func blockade(id string, b host.Blockade) Finding {
	fix := strings.Join(b.Mend, " && ")
	if b.Doubtful {
		return note(id, fmt.Sprintf("perhaps %s", b), "a rule that cannot be judged from here may let it through", fix)
	}
	return fault(id, b.String(), blocked[b.Way.Purpose]+"; an accept elsewhere does not undo a drop", fix)
}
