//go:build integration

package hostlink

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

var everything = []string{
	"the internet", "the internet by UDP", "a LAN neighbour", "a LAN neighbour by UDP", "the host on the link", "the host by UDP",
	"the host on its LAN", "the host towards another machine", "another machine", "another machine by UDP", "metadata", "a private address",
	"a network behind a VPN",
}

func TestWhatAMachineReachesIsWhatItMay(t *testing.T) {
	for _, c := range []struct {
		egress spec.Egress
		want   []string
	}{
		{spec.EgressAny, everything},
		{spec.EgressInternet, []string{"the internet", "the internet by UDP", "a network behind a VPN"}},
		{spec.EgressNone, nil},
	} {
		t.Run(string(c.egress), func(t *testing.T) {
			w := newWorld(t)
			open(t, withEgress(c.egress))
			if diff := cmp.Diff(c.want, w.reaches(t)); diff != "" {
				t.Errorf("reached (-want +got):\n%s", diff)
			}
			// Whatever it may do itself, it answers this host.
			for _, network := range []string{"tcp4", "udp4"} {
				if _, err := ask(network, box.Address.Addr().String()+":7000"); err != nil {
					t.Errorf("it does not answer by %s: %v", network, err)
				}
			}
		})
	}
}

func TestNetworksThatTheHostJoinsLaterAreClosed(t *testing.T) {
	w := newWorld(t)
	k := open(t, withEgress(spec.EgressInternet))
	ctx, stop := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		k.Keep(ctx)
	}()
	defer func() {
		stop()
		<-kept
	}()
	vpn := &netlink.Route{Dst: network("20.0.0.0/9"), Gw: net.ParseIP(neighbour), Table: 51}
	if err := netlink.RouteAdd(vpn); err != nil { // in a table of its own, as VPNs do
		t.Fatal(err)
	}
	want := []string{"the internet", "the internet by UDP"}
	until(t, func() string { return cmp.Diff(want, w.reaches(t)) })
	if err := netlink.RouteDel(vpn); err != nil {
		t.Fatal(err)
	}
	until(t, func() string { return cmp.Diff(append(want, "a network behind a VPN"), w.reaches(t)) })
}

func TestRulesThatAreFlushedArePutBack(t *testing.T) {
	w := newWorld(t)
	k := open(t, withEgress(spec.EgressInternet))
	ctx, stop := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		k.Keep(ctx)
	}()
	defer func() {
		stop()
		<-kept
	}()
	for _, by := range []string{"flush ruleset", "flush chain inet nspawn-build-box egress", "delete table inet nspawn-build-box"} {
		if out, err := exec.Command("nft", by).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", by, err, out)
		}
		until(t, func() string {
			return cmp.Diff([]string{"the internet", "the internet by UDP", "a network behind a VPN"}, w.reaches(t))
		})
	}
}

// A keeper that is ended, or that starts again and cannot do all that it is to
// do, opens nothing: the machine runs.
func TestWhatBoundsARunningMachineStaysWhateverBecomesOfItsKeeper(t *testing.T) {
	w := newWorld(t)
	bounded := []string{"the internet", "the internet by UDP", "a network behind a VPN"}
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(bounded, w.reaches(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	k := open(t, withEgress(spec.EgressInternet))
	check("at first")
	var runs *RunsError
	if err := k.End(t.Context()); !errors.As(err, &runs) {
		t.Errorf("the keeper of a machine that runs ended: %v, want a RunsError", err)
	}
	check("its keeper was ended")

	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	link := withEgress(spec.EgressInternet)
	link.Publish = []spec.Publish{{Protocol: "tcp", Host: netip.MustParseAddrPort(l.Addr().String()).Port(), Machine: 80}}
	var warned []string
	again, err := Open(t.Context(), Config{RuntimeDir: t.TempDir(), Warn: func(m string) { warned = append(warned, m) }}, link)
	if err != nil || len(warned) != 1 || !strings.Contains(warned[0], strconv.Itoa(os.Getpid())) {
		t.Fatalf("a keeper that starts again while its port is taken: %v, warned of %q", err, warned)
	}
	check("its keeper could not have its port")

	if err := again.giveUp(t.Context(), errors.New("no rules")); !errors.As(err, &runs) || !strings.Contains(err.Error(), "no rules") {
		t.Errorf("a keeper that could not make its rules: %v, want a RunsError that says so", err)
	}
	check("its keeper gave up")

	there, err := netlink.LinkByName(link.Interface)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkDel(there), again.End(t.Context())); err != nil {
		t.Errorf("the machine has ended: %v", err)
	}
	if out, err := exec.Command("nft", "list", "tables").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("left behind: %s, %v", out, err)
	}
}

func TestNameServersAreReachedAtTheirPortAlone(t *testing.T) {
	for _, c := range []struct {
		egress spec.Egress
		want   bool
	}{{spec.EgressInternet, true}, {spec.EgressNone, false}} {
		t.Run(string(c.egress), func(t *testing.T) {
			w := newWorld(t)
			w.lan.must(serve(t, neighbour+":53"))
			l := withEgress(c.egress)
			l.DNS = []netip.Addr{netip.MustParseAddr(neighbour), netip.MustParseAddr("2001:db8::53")}
			open(t, l)
			w.machine.must(func() error {
				for _, network := range []string{"tcp4", "udp4"} {
					if _, err := ask(network, neighbour+":53"); (err == nil) != c.want {
						t.Errorf("its name server by %s: %v", network, err)
					}
					if _, err := ask(network, neighbour+":7000"); err == nil {
						t.Errorf("another port of its name server was reached by %s", network)
					}
				}
				return nil
			})
		})
	}
}

func TestPingsEndWhereConnectionsDo(t *testing.T) {
	w := newWorld(t)
	open(t, withEgress(spec.EgressInternet))
	for to, want := range map[string]bool{internet: true, neighbour: false, hostOnLAN: false, box.HostSide.Addr().String(): false, "192.168.201.200": false} {
		w.machine.must(func() error {
			if got := pings(to); got != want {
				t.Errorf("%s answers a ping: %v", to, got)
			}
			return nil
		})
	}
}

// pings asks for an echo through a raw socket.
func pings(to string) bool {
	c, err := net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: net.ParseIP(to)})
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	echo := []byte{8, 0, 0, 0, 0x12, 0x34, 0, 1}
	sum := uint32(0x0800 + 0x1234 + 1)
	sum = ^(sum + sum>>16)
	echo[2], echo[3] = byte(sum>>8), byte(sum)
	if _, err := c.Write(echo); err != nil {
		return false
	}
	if err := c.SetReadDeadline(now().Add(patience)); err != nil {
		return false
	}
	b := make([]byte, 100)
	n, _, err := c.ReadFrom(b)
	return err == nil && n >= 8 && b[0] == 0
}

func TestSpoofedSourcesAndIPv6GoNowhere(t *testing.T) {
	w := newWorld(t)
	open(t, withEgress(spec.EgressInternet))
	w.machine.must(func() error {
		if _, err := ask("tcp4", internet+":7000"); err != nil {
			t.Errorf("with its own address: %v", err)
		}
		if err := configure("eth0", "192.168.200.77/24"); err != nil {
			return err
		}
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 168, 200, 77)}}
		if c, err := d.Dial("tcp4", internet+":7000"); err == nil {
			_ = c.Close()
			t.Error("with another address the internet was reached")
		}
		return configure("eth0", "fd00::2/64")
	})
	if err := configure(box.Interface, "fd00::1/64"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp6", "[::]:7006")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	w.machine.must(func() error {
		for range 20 { // as long as a new address is looked for by others
			c, err := net.DialTimeout("tcp6", "[fd00::1]:7006", patience)
			if err == nil {
				_ = c.Close()
				t.Error("the host was reached by IPv6")
				break
			}
			if !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENETUNREACH) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	})
}

func TestTheHostsEndIsConfiguredWheneverALinkComesUp(t *testing.T) {
	needRoot(t)
	k := open(t, withEgress(spec.EgressAny))
	ctx, stop := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		k.Keep(ctx)
	}()
	defer func() {
		stop()
		<-kept
	}()
	for range 2 { // a reboot makes a new one
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: box.Interface}, PeerName: "peer0"}
		if err := netlink.LinkAdd(pair); err != nil {
			t.Fatal(err)
		}
		until(t, func() string {
			out, _ := exec.Command("ip", "-br", "addr", "show", box.Interface).CombinedOutput()
			if strings.Contains(string(out), box.HostSide.String()) {
				return ""
			}
			return string(out)
		})
		if err := netlink.LinkDel(pair); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForwardingIsPutBackByTheLastMachineAndOnlyIfWeChangedIt(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	value := func() string {
		text, err := os.ReadFile(forwardSwitch)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	set := func(v string) {
		if err := setSwitch(v); err != nil {
			t.Fatal(err)
		}
	}
	do := func(f func(context.Context, string, string) error, machine string) {
		t.Helper()
		if err := f(t.Context(), dir, machine); err != nil {
			t.Fatal(err)
		}
	}
	want := func(v, why string) {
		t.Helper()
		if value() != v {
			t.Error(why)
		}
	}
	before := value()
	t.Cleanup(func() { set(before) })

	set("0")
	do(startForwarding, "one")
	want("1", "not turned on")
	do(startForwarding, "two")
	do(startForwarding, "two") // once more, after it was killed
	do(stopForwarding, "one")
	want("1", "turned off under another machine")
	do(stopForwarding, "two")
	want("0", "not put back by the last")
	do(stopForwarding, "two")

	set("1") // by the host's owner
	do(startForwarding, "one")
	do(stopForwarding, "one")
	want("1", "turned off though it was on before")

	set("0")
	do(startForwarding, "one")
	if err := writeForwarding(dir, &forwarding{Was: "0", Boot: "another", Machines: []string{"one"}}); err != nil {
		t.Fatal(err)
	}
	do(stopForwarding, "one")
	want("1", "a note of an earlier boot was believed")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
