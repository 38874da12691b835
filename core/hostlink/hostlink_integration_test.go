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
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// patience is how long an answer is waited for: on a busy machine a new link
// takes a moment to carry.
const patience = 2 * time.Second

func now() time.Time { return time.Now() }

// world is a host with an uplink, a neighbour on the LAN, the internet behind a
// gateway there, another machine, and the machine under test.
type world struct{ lan, other, machine site }

const (
	hostOnLAN = "203.0.113.2"
	neighbour = "203.0.113.1"  // and gateway
	internet  = "198.51.100.1" // beyond it
	secondNet = "20.1.2.3"     // not private, and yet not the internet
)

func newWorld(t *testing.T) world {
	t.Helper()
	needRoot(t)
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip(err)
	}
	if err := configure("lo", "127.0.0.1/8"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(forwardSwitch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = setSwitch(strings.TrimSpace(string(before))) })
	if err := setSwitch("1"); err != nil { // for the other machine
		t.Fatal(err)
	}
	w := world{
		lan:     join(t, "eth0", hostOnLAN+"/24", neighbour+"/24"),
		other:   join(t, "ve-other", "192.168.201.1/24", "192.168.201.200/24"),
		machine: join(t, box.Interface, box.HostSide.String(), box.Address.String()),
	}
	w.lan.must(func() error {
		for _, a := range []string{internet + "/32", secondNet + "/32", "169.254.169.254/32", "10.9.9.9/32"} {
			if err := configure("eth0", a); err != nil {
				return err
			}
		}
		// Each address has a socket of its own: answers come from where was asked.
		for _, a := range []string{neighbour, internet, secondNet, "169.254.169.254", "10.9.9.9"} {
			if err := serve(t, a+":7000")(); err != nil {
				return err
			}
		}
		return nil
	})
	w.other.must(serve(t, ":7000"))
	w.machine.must(serve(t, ":7000"))
	if err := serve(t, ":7000")(); err != nil {
		t.Fatal(err)
	}
	gateway := net.ParseIP(neighbour)
	if err := netlink.RouteAdd(&netlink.Route{Gw: gateway}); err != nil {
		t.Fatal(err)
	}
	return w
}

// reaches lists, of all there is, what the machine gets an answer from.
func (w world) reaches(t *testing.T) []string {
	t.Helper()
	targets := []struct{ what, network, address string }{
		{"the internet", "tcp4", internet + ":7000"},
		{"the internet by UDP", "udp4", internet + ":7000"},
		{"a LAN neighbour", "tcp4", neighbour + ":7000"},
		{"a LAN neighbour by UDP", "udp4", neighbour + ":7000"},
		{"the host on the link", "tcp4", box.HostSide.Addr().String() + ":7000"},
		{"the host by UDP", "udp4", box.HostSide.Addr().String() + ":7000"},
		{"the host on its LAN", "tcp4", hostOnLAN + ":7000"},
		{"the host towards another machine", "tcp4", "192.168.201.1:7000"},
		{"another machine", "tcp4", "192.168.201.200:7000"},
		{"another machine by UDP", "udp4", "192.168.201.200:7000"},
		{"metadata", "tcp4", "169.254.169.254:7000"},
		{"a private address", "tcp4", "10.9.9.9:7000"},
		{"a network behind a VPN", "tcp4", secondNet + ":7000"},
	}
	answered := make([]bool, len(targets))
	var asking sync.WaitGroup
	for i, to := range targets {
		asking.Go(func() {
			if err := w.machine.in(func() error {
				_, err := ask(to.network, to.address)
				answered[i] = err == nil
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	var reached []string
	for i, to := range targets {
		if answered[i] {
			reached = append(reached, to.what)
		}
	}
	return reached
}

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

func until(t *testing.T, diff func() string) {
	t.Helper()
	last := diff()
	for range 50 {
		if last == "" {
			return
		}
		time.Sleep(50 * time.Millisecond)
		last = diff()
	}
	t.Fatalf("still (-want +got):\n%s", last)
}

func network(s string) *net.IPNet {
	p := netip.MustParsePrefix(s)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
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

func TestPublishedPortsAreReachedFromEverywhereAndAnswered(t *testing.T) {
	for _, egress := range []spec.Egress{spec.EgressAny, spec.EgressNone} {
		t.Run(string(egress), func(t *testing.T) {
			w := newWorld(t)
			l := withEgress(egress)
			l.Publish = []spec.Publish{
				{Protocol: "tcp", Host: 8080, Machine: 7000},
				{Protocol: "udp", Host: 8080, Machine: 7000},
				{Protocol: "tcp", Address: netip.MustParseAddr("127.0.0.1"), Host: 8081, Machine: 7000},
				{Protocol: "tcp", Address: netip.MustParseAddr(hostOnLAN), Host: 8082, Machine: 7000},
			}
			open(t, l)
			from := func(s *site, network, address, want string) {
				t.Helper()
				var got string
				var err error
				look := func() error { got, err = ask(network, address); return nil }
				if s == nil {
					_ = look()
				} else {
					s.must(look)
				}
				if got != want || (err != nil) != (want == "") {
					t.Errorf("%s %s: the machine sees %q, want %q: %v", network, address, got, want, err)
				}
			}
			hostSide := box.HostSide.Addr().String()
			for _, network := range []string{"tcp4", "udp4"} {
				from(&w.lan, network, hostOnLAN+":8080", neighbour) // with its own address
				from(nil, network, hostOnLAN+":8080", hostOnLAN)
				from(nil, network, "127.0.0.1:8080", hostSide)
				from(nil, network, hostSide+":8080", hostSide)
			}
			from(&w.other, "tcp4", "192.168.201.1:8080", "192.168.201.200")
			from(&w.lan, "tcp4", hostOnLAN+":8081", "")
			from(nil, "tcp4", "127.0.0.1:8081", hostSide)
			from(&w.lan, "tcp4", hostOnLAN+":8082", neighbour)
			from(nil, "tcp4", "127.0.0.1:8082", "")
			if egress == spec.EgressAny {
				from(&w.machine, "tcp4", hostOnLAN+":8080", hostSide)
			} else {
				from(&w.machine, "tcp4", hostOnLAN+":8080", "")
			}
		})
	}
}

func TestAPortThatSomebodyHasIsNotPublished(t *testing.T) {
	needRoot(t)
	if err := configure("lo", "127.0.0.1/8"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken := spec.Publish{Protocol: "tcp", Host: netip.MustParseAddrPort(l.Addr().String()).Port(), Machine: 80}
	var e *TakenError
	if err := Free(t.Context(), []spec.Publish{taken}); !errors.As(err, &e) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) || e.Hint == "" {
		t.Errorf("%v, want to be told that this process has it", err)
	}
	elsewhere := spec.Publish{Protocol: "tcp", Address: netip.MustParseAddr("192.0.2.77"), Host: 80, Machine: 80}
	if err := Free(t.Context(), []spec.Publish{elsewhere}); !errors.As(err, &e) || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("%v, want to be told that the address is not this host's", err)
	}
	if err := Free(t.Context(), []spec.Publish{{Protocol: "udp", Host: taken.Host, Machine: 80}}); err != nil {
		t.Errorf("the same port of UDP: %v", err)
	}
	// And a machine does not start without its port.
	link := box
	link.Publish = []spec.Publish{taken}
	if _, err := Open(t.Context(), Config{RuntimeDir: t.TempDir()}, link); !errors.As(err, &e) {
		t.Errorf("open: %v", err)
	}
	if out, err := exec.Command("nft", "list", "tables").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("left behind: %s, %v", out, err)
	}
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
