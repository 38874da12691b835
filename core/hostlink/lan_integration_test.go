//go:build integration

package hostlink

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
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
		if os.Getenv("CI") == "true" {
			t.Fatal(err) // all is tested there
		}
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
