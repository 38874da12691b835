package testhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
)

// network notes links, addresses, routes and routing rules.
func (h *Host) network(_ context.Context, s Snapshot) error {
	ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(h.leader), "ns/net"))
	if err != nil {
		return fmt.Errorf("open the host's network: %w", err)
	}
	defer func() { _ = ns.Close() }()
	return inNetwork(ns, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("list links: %w", err)
		}
		names := map[int]string{}
		for _, l := range links {
			a := l.Attrs()
			names[a.Index] = a.Name
			s["link "+a.Name] = fmt.Sprintf("%s mtu %d %s", l.Type(), a.MTU, a.Flags)
		}
		addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range addresses {
			if a.IP.IsLinkLocalUnicast() {
				continue // comes by itself, a second or two after its link
			}
			s["address "+a.IPNet.String()] = names[a.LinkIndex]
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst != nil && r.Dst.IP.IsLinkLocalUnicast() {
				continue // as its address does
			}
			s[fmt.Sprintf("route %s table %d", r.Dst, r.Table)] = fmt.Sprintf("via %s dev %s src %s", r.Gw, names[r.LinkIndex], r.Src)
		}
		rules, err := netlink.RuleList(netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list routing rules: %w", err)
		}
		for _, r := range rules {
			s[fmt.Sprintf("rule %d family %d", r.Priority, r.Family)] = r.String()
		}
		return nil
	})
}

// rules notes the nft ruleset, one line each.
func (h *Host) rules(ctx context.Context, s Snapshot) error {
	r, err := h.run(ctx, Command{Args: []string{"nft", "--stateless", "list", "ruleset"}})
	if err != nil {
		return err
	}
	if r.Exit != 0 {
		return fmt.Errorf("list nft rules: %s", r)
	}
	for table, text := range tables(r.Stdout) {
		// networkd makes its table when it first masquerades and keeps it;
		// only elements in its sets say that anything is masqueraded.
		if strings.HasSuffix(table, " io.systemd.nat") && !strings.Contains(text, "elements") {
			continue
		}
		s["nft "+table] = text
	}
	return nil
}

// tables splits what `nft list ruleset` prints by table.
func tables(ruleset string) map[string]string {
	all := map[string]string{}
	var name string
	for line := range strings.Lines(ruleset) {
		if rest, ok := strings.CutPrefix(line, "table "); ok {
			name = strings.TrimSuffix(strings.TrimSpace(rest), " {")
		}
		if name != "" {
			all[name] += line
		}
	}
	return all
}

// mounts notes what the host's PID 1 sees mounted.
func (h *Host) mounts(_ context.Context, s Snapshot) error {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(h.leader), "mountinfo"))
	if err != nil {
		return fmt.Errorf("read the host's mounts: %w", err)
	}
	defer func() { _ = f.Close() }()
	all, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return fmt.Errorf("parse the host's mounts: %w", err)
	}
	for _, m := range all {
		if !covers(ignoredFiles, m.Mountpoint) {
			s["mount "+m.Mountpoint] += fmt.Sprintf("[%s %s %s]", m.FSType, m.Source, m.Root)
		}
	}
	return nil
}

// onDemand are services that the bus or a socket starts for whoever asks, and
// that end by themselves some time later; how a process of theirs is called.
var onDemand = []string{
	"systemd-machined", "systemd-hostnamed", "systemd-timedated", "systemd-localed", "systemd-importd",
	"systemd-userdbd", "systemd-userwork", "systemd-nsresourced", "systemd-nsresourcework", "systemd-mountfsd", "systemd-mountwork",
	"agetty", "apt.systemd.daily", "systemd-tmpfiles",
}

// processes notes the command line of every process of the host and of all
// machines on it.
func (h *Host) processes(_ context.Context, s Snapshot) error {
	lines, err := filepath.Glob(h.Path("/proc/[0-9]*/cmdline"))
	if err != nil {
		return fmt.Errorf("list the host's processes: %w", err)
	}
	for _, file := range lines {
		text, err := os.ReadFile(file)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				continue // ended since it was listed
			}
			return fmt.Errorf("read a command line: %w", err)
		}
		command := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
		name := filepath.Base(strings.Trim(strings.SplitN(command+" ", " ", 2)[0], "()-"))
		if command == "" || strings.HasPrefix(command, "(") || slices.Contains(onDemand, name) {
			continue // a zombie, a child of PID 1 about to become a service, or ignored
		}
		s["process "+command] += "+"
	}
	return nil
}
