//go:build integration

package hostlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// TestMain runs the tests in a network namespace of their own: that of a host.
func TestMain(m *testing.M) {
	const inside = "NSPAWN_BUILD_TEST_NAMESPACE"
	if os.Getuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root: network namespaces and nftables")
}

// site is a network namespace that is joined to the host's.
type site struct {
	t  *testing.T
	ns *os.File
}

// in runs f in the site. Sockets that it opens stay there.
func (s site) in(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (s site) must(f func() error) {
	s.t.Helper()
	if err := s.in(f); err != nil {
		s.t.Fatal(err)
	}
}

// join makes a site behind a veth pair: link is the host's end and has hostSide,
// eth0 the site's and has address, with the host as its gateway.
func join(t *testing.T, link, hostSide, address string) site {
	t.Helper()
	s := site{t: t}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.ns, err = os.Open("/proc/thread-self/ns/net")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.ns.Close() })
	s.plug(link, hostSide, address)
	return s
}

// plug joins the site to the host by a new veth pair.
func (s site) plug(link, hostSide, address string) {
	s.t.Helper()
	t := s.t
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: link}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(s.ns.Fd()))}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(pair) }) // it may have gone
	if hostSide != "" {
		if err := configure(link, hostSide); err != nil {
			t.Fatal(err)
		}
	}
	s.must(func() error {
		if err := errors.Join(configure("lo", "127.0.0.1/8"), configure("eth0", address)); err != nil {
			return err
		}
		if hostSide == "" {
			return nil
		}
		return netlink.RouteAdd(&netlink.Route{Gw: netip.MustParsePrefix(hostSide).Addr().AsSlice()})
	})
}

func configure(link, address string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(l, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// serve answers on a port with a line that says who asked, by TCP and UDP.
func serve(t *testing.T, address string) func() error {
	return func() error {
		l, err := net.Listen("tcp4", address)
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp4", address)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _, _ = l.Close(), u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprintf(c, "%s\n", host(c.RemoteAddr()))
				_ = c.Close()
			}
		}()
		go func() {
			for b := make([]byte, 100); ; {
				_, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = u.WriteTo([]byte(host(from)+"\n"), from)
			}
		}()
		return nil
	}
}

func host(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

// ask returns what serve answers.
func ask(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(now().Add(patience)); err != nil {
		return "", err
	}
	if strings.HasPrefix(network, "udp") {
		if _, err := c.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}

var box = Link{
	Machine: "box", Interface: "ve-box",
	HostSide: netip.MustParsePrefix("192.168.200.1/24"), Address: netip.MustParsePrefix("192.168.200.200/24"),
}

func open(t *testing.T, l Link) *Keeper {
	t.Helper()
	c := Config{RuntimeDir: t.TempDir(), Warn: func(m string) { t.Log("warned: " + m) }}
	k, err := Open(t.Context(), c, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		if err := Remove(t.Context(), c, l.Machine); err != nil && !errors.Is(err, t.Context().Err()) {
			t.Error(err)
		}
		if out, err := exec.Command("nft", "list", "tables").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("left behind: %s, %v", out, err)
		}
	})
	return k
}

func withEgress(e spec.Egress) Link {
	l := box
	l.Egress, l.Builtin = e, true
	return l
}
