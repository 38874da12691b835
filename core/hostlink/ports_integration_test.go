//go:build integration

package hostlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

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

// A client of UDP that keeps its port does not notice that the machine rebooted,
// and so has another link: of the same name, with another index.
func TestAClientThatKeepsItsPortIsAnsweredAfterAReboot(t *testing.T) {
	w := newWorld(t)
	l := withEgress(spec.EgressAny)
	l.Publish = []spec.Publish{{Protocol: "udp", Host: 8080, Machine: 7000}}
	open(t, l)
	client, err := net.Dial("udp4", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	answered := func() string {
		b := make([]byte, 100)
		if _, err := client.Write([]byte("?")); err != nil {
			return err.Error()
		}
		if err := client.SetReadDeadline(now().Add(patience)); err != nil {
			return err.Error()
		}
		n, err := client.Read(b)
		if got := strings.TrimSpace(string(b[:n])); err != nil || got != box.HostSide.Addr().String() {
			return fmt.Sprintf("the machine sees %q: %v", got, err)
		}
		return ""
	}
	until(t, answered)
	for _, while := range []string{"sends nothing", "sends meanwhile"} {
		link, err := netlink.LinkByName(box.Interface)
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			t.Fatal(err)
		}
		if while == "sends meanwhile" {
			if _, err := client.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
		}
		w.machine.plug(box.Interface, box.HostSide.String(), box.Address.String())
		until(t, answered)
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
