package veth

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

// TestMain runs the tests in a network namespace of their own.
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

func root(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

func pair(t *testing.T, name string) {
	t.Helper()
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Remove(name) })
}

func TestLinkIsWaitedForUntilItIsThere(t *testing.T) {
	root(t)
	for _, when := range []time.Duration{0, 50 * time.Millisecond} {
		waited := make(chan error, 1)
		go func() { waited <- Wait(t.Context(), "ve-box") }()
		time.Sleep(when)
		select {
		case err := <-waited:
			t.Fatalf("returned before there was a link: %v", err)
		default:
		}
		pair(t, "ve-box")
		begin := time.Now()
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 300*time.Millisecond {
			t.Errorf("seen only after %v", took)
		}
		gone := make(chan error, 1)
		go func() { gone <- WaitGone(t.Context(), "ve-box") }()
		time.Sleep(when)
		if err := Remove("ve-box"); err != nil {
			t.Fatal(err)
		}
		if err := <-gone; err != nil {
			t.Fatal(err)
		}
	}
}

func TestWaitingEndsWithItsContextAndNamesTheLink(t *testing.T) {
	root(t)
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := Wait(ctx, "ve-none")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ve-none") {
		t.Errorf("got %v", err)
	}
}

func TestLinkGetsItsAddressOnceAndComesUp(t *testing.T) {
	root(t)
	pair(t, "ve-box")
	for range 2 {
		if err := Configure("ve-box", netip.MustParsePrefix("192.168.200.1/24")); err != nil {
			t.Fatal(err)
		}
	}
	link, err := netlink.LinkByName("ve-box")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 || addrs[0].IPNet.String() != "192.168.200.1/24" {
		t.Errorf("%v, %v", addrs, err)
	}
	if link.Attrs().Flags&1 == 0 {
		t.Error("it is down")
	}
}

func TestForeignLinkIsNeverTouched(t *testing.T) {
	root(t)
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "ve-foreign"}}); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no bridges here: ", err)
	}
	if err := Configure("ve-foreign", netip.MustParsePrefix("192.168.200.1/24")); err == nil || !strings.Contains(err.Error(), "bridge") {
		t.Errorf("configured: %v", err)
	}
	if err := Remove("ve-foreign"); err == nil {
		t.Error("removed")
	}
	if there, err := Exists("ve-foreign"); !there || err != nil {
		t.Errorf("there: %v, %v", there, err)
	}
}

func TestMissingLinkNeedNotBeRemoved(t *testing.T) {
	root(t)
	if err := Remove("ve-none"); err != nil {
		t.Error(err)
	}
	if err := Configure("ve-none", netip.MustParsePrefix("192.168.200.1/24")); err == nil {
		t.Error("a link that is not there was configured")
	}
}
