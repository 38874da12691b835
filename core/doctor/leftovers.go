package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
)

// prefix is how tables and cgroups of machines begin.
const prefix = "nspawn-build-"

// tables are nftables tables of machines that are gone.
func (e *exam) tables(context.Context) []Finding {
	all, err := nftTables()
	if err != nil {
		return nil // a kernel without nftables has none
	}
	var found []Finding
	for _, t := range all {
		if name, ours := strings.CutPrefix(t.Name, prefix); ours && !e.known(name) {
			found = append(found, e.orphan("the nftables table "+t.Name+" has no machine", name, func(context.Context) error { return deleteTable(t) }))
		}
	}
	return found
}

func nftTables() ([]*nftables.Table, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	return c.ListTables()
}

func deleteTable(t *nftables.Table) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(t)
	return c.Flush()
}

// groups are cgroups that the direct driver made for machines that are gone.
func (e *exam) groups(context.Context) []Finding {
	h, err := cgroup.Find()
	if err != nil {
		return nil // said elsewhere
	}
	var found []Finding
	seen := map[string]bool{}
	for _, root := range h.Roots() {
		dirs, _ := filepath.Glob(filepath.Join(root, prefix+"*")) // the pattern is good
		for _, dir := range dirs {
			name := strings.TrimPrefix(filepath.Base(dir), prefix)
			if e.known(name) || seen[name] {
				continue
			}
			seen[name] = true
			group := h.Group(prefix + name)
			if pids, err := group.Processes(); err != nil || len(pids) > 0 {
				found = append(found, fault(idOrphan, fmt.Sprintf("%d processes run in %s, of a machine that is not on record", len(pids), dir),
					"nothing will stop them", "echo 1 >"+dir+"/cgroup.kill"))
				continue
			}
			found = append(found, e.orphan("the cgroup "+dir+" has no machine", name, func(ctx context.Context) error { return group.Remove(ctx) }))
		}
	}
	return found
}

// links are hosts' ends of links that no machine has.
func (e *exam) links(ctx context.Context) []Finding {
	all, err := netlink.LinkList()
	if err != nil {
		return one(untold(idOrphan, err))
	}
	taken := map[string]bool{}
	for _, m := range e.machines {
		taken[m.Interface] = true
	}
	if e.bus != nil {
		names, err := e.bus.KnownMachines(ctx)
		if err != nil {
			return one(untold(idOrphan, err))
		}
		for _, n := range names {
			taken[addr.LinkName(n, addr.SchemeOf(e.House.Host.NamingScheme()))] = true
		}
	}
	var found []Finding
	for _, l := range all {
		a := l.Attrs()
		if l.Type() != "veth" || !strings.HasPrefix(a.Name, "ve-") || taken[a.Name] {
			continue
		}
		what := "the link " + a.Name + " belongs to no machine"
		if a.NetNsID < 0 || a.Flags&net.FlagRunning == 0 { // its other end is here too, or down
			found = append(found, warning("host.stale-link", what, "its address and routes are in the way of machines", "ip link delete "+a.Name))
			continue
		}
		found = append(found, note("host.stale-link", what+" that is known here", "it may be that of a machine that was started by hand", ""))
	}
	return found
}

var unitForm = regexp.MustCompile(`systemd-nspawn@([A-Za-z0-9.-]{1,64})\.service(\.d)?$`)

// unitSettings are limits and links of the service manager for machines that
// are neither on record nor known to machinectl.
func (e *exam) unitSettings(context.Context) []Finding {
	var found []Finding
	for _, where := range []struct{ pattern, what, fix string }{
		{"/etc/systemd/system.control/systemd-nspawn@*.service.d", "limits that systemctl set-property wrote", "rm -r %s && systemctl daemon-reload"},
		{"/etc/systemd/system/machines.target.wants/systemd-nspawn@*.service", "a wish to start it at boot", "rm %s && systemctl daemon-reload"},
	} {
		paths, _ := filepath.Glob(where.pattern) // the patterns are good
		for _, path := range paths {
			form := unitForm.FindStringSubmatch(path)
			if form == nil || e.known(form[1]) || image(form[1]) {
				continue
			}
			found = append(found, warning(idOrphan, path+" holds "+where.what+" for a machine that is gone",
				"the next machine of that name gets them", fmt.Sprintf(where.fix, quote(path))))
		}
	}
	return found
}

// image tells whether machinectl knows an image of that name.
func image(name string) bool {
	return slices.ContainsFunc([]string{name, name + ".raw"}, func(file string) bool {
		_, err := os.Stat(filepath.Join("/var/lib/machines", file))
		return !errors.Is(err, os.ErrNotExist)
	})
}
