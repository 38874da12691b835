package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

const (
	networkdUnit = "systemd-networkd.service"
	resolvedUnit = "systemd-resolved.service"
)

func start(unit string) string { return "systemctl enable --now " + unit }

// runs tells whether a unit runs; problem is what to report when that is not
// to be known.
func (e *exam) runs(ctx context.Context, id, unit string) (running bool, problem []Finding) {
	if e.busError != nil {
		return false, one(fault(id, "the system bus does not answer: "+e.busError.Error(), "services are asked and told over it", "systemctl start dbus.socket"))
	}
	running, err := e.bus.UnitActive(ctx, unit)
	if err != nil {
		return false, one(untold(id, err))
	}
	return running, nil
}

func (e *exam) networkd(ctx context.Context) []Finding {
	const id = "host.networkd"
	if !e.House.Host.Systemd {
		return one(ok(id, "nspawn-build itself sets up the links of machines"))
	}
	running, problem := e.runs(ctx, id, networkdUnit)
	if problem != nil {
		return problem
	}
	if running {
		return one(ok(id, networkdUnit+" runs"))
	}
	const why = "it gives this host's end of each link its address: without it machines are not reached"
	if names := e.needs(machines.NetworkdServes); len(names) > 0 {
		return one(fault(id, networkdUnit+" does not run, and is needed by "+list(names), why, start(networkdUnit)))
	}
	return one(warning(id, networkdUnit+" does not run", "machines of the systemd driver have their link's address from it", start(networkdUnit)))
}

func (e *exam) resolved(ctx context.Context) []Finding {
	const id = "host.resolved"
	asksUs := func(m store.Machine) bool { return m.Spec.Network.DNS.Mode == spec.DNSHost }
	if !e.House.Host.Systemd {
		return one(servers(id))
	}
	running, problem := e.runs(ctx, id, resolvedUnit)
	if problem != nil {
		return problem
	}
	if running {
		return []Finding{ok(id, resolvedUnit+" runs"), servers("host.dns")}
	}
	if names := e.needs(asksUs); len(names) > 0 {
		return one(fault(id, resolvedUnit+" does not run, and is asked for names by "+list(names), "they were made with --dns host: nothing resolves in them", start(resolvedUnit)))
	}
	if asksStub() {
		return one(fault(id, resolvedUnit+" does not run, and /etc/resolv.conf leads to it", "nothing resolves on this host, so that no packages come and no server is known for machines", start(resolvedUnit)))
	}
	return []Finding{note(id, resolvedUnit+" does not run: --dns host is not possible", "", start(resolvedUnit)), servers("host.dns")}
}

// asksStub tells whether the host's own programs ask resolved.
func asksStub() bool {
	if to, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil && strings.HasPrefix(to, "/run/systemd/resolve/") {
		return true
	}
	data, err := os.ReadFile("/etc/resolv.conf")
	return err == nil && strings.Contains(string(data), "nameserver 127.0.0.53")
}

// servers tells whether there is a server that machines could ask.
func servers(id string) Finding {
	if len(host.Uplinks()) == 0 {
		return warning(id, "this host asks no DNS server that a machine could reach", "machines need --dns with the address of one, or --dns host", "")
	}
	return ok(id, "machines can ask the DNS servers of this host")
}

func (e *exam) forwarding(context.Context) []Finding {
	const id = "host.forwarding"
	on := func(link string) bool {
		text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + link + "/forwarding")
		return err != nil || strings.TrimSpace(string(text)) == "1"
	}
	var stuck []string
	for _, m := range e.machines {
		if machines.Reaches(m) && host.LinkExists(m.Interface) && !on(m.Interface) {
			stuck = append(stuck, m.Name)
		}
	}
	if len(stuck) > 0 {
		return one(fault(id, "this host passes nothing on for "+list(stuck), "forwarding was turned off after the machine had started: it reaches this host and nothing else", "sysctl -w net.ipv4.ip_forward=1"))
	}
	return one(ok(id, "IPv4 is passed on for every machine that runs"))
}
