package testhost

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// What is outside beyond the host's LAN, on a host that was given an Internet.
const (
	InternetAddress = "198.51.100.1"    // reached over the default route
	MetadataAddress = "169.254.169.254" // what clouds have there
	EchoPort        = "7000"            // every address outside answers there, by TCP and UDP
)

// Internet gives the host a default route, to a gateway on its LAN behind which
// InternetAddress is and all that clouds have at MetadataAddress. No packet
// leaves this machine by it: the outside has no route of its own.
func (h *Host) Internet(t testing.TB) {
	t.Helper()
	err := inNetwork(h.outside.ns, func() error {
		for _, a := range []string{InternetAddress, MetadataAddress} {
			if err := addAddress("outside", a+"/32"); err != nil {
				return err
			}
			page, err := h.outside.listen(t.Context(), net.JoinHostPort(a, "80"))
			if err != nil {
				return err
			}
			h.outside.serveWeb(page, http.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, OutsideText) }))
		}
		for _, a := range []string{OutsideAddress, InternetAddress, MetadataAddress} {
			if err := h.outside.echo(t.Context(), net.JoinHostPort(a, EchoPort)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("make an internet: %v", err)
	}
	h.MustRun(t, "ip", "route", "add", "default", "via", OutsideAddress)
}

// echo answers every connection and every packet with the address that it came
// from.
func (o *outside) echo(ctx context.Context, address string) error {
	streams, err := o.listen(ctx, address)
	if err != nil {
		return err
	}
	packets, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", address)
	if err != nil {
		return fmt.Errorf("listen outside: %w", err)
	}
	o.closers = append(o.closers, packets)
	go func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return // closed
			}
			fmt.Fprintln(c, addressOf(c.RemoteAddr()))
			_ = c.Close()
		}
	}()
	go func() {
		for b := make([]byte, 1500); ; {
			_, from, err := packets.ReadFrom(b)
			if err != nil {
				return // closed
			}
			_, _ = packets.WriteTo([]byte(addressOf(from)+"\n"), from) // lost like any packet
		}
	}()
	return nil
}

func addressOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// FromOutside connects to an address of the host from its LAN and returns the
// first line that it is told.
func (h *Host) FromOutside(t testing.TB, network, address string) (line string, err error) {
	t.Helper()
	err = inNetwork(h.outside.ns, func() error {
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), network, address)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if network == "udp4" {
			if _, err := io.WriteString(c, "?"); err != nil {
				return err
			}
		}
		b := make([]byte, 1500)
		n, err := c.Read(b)
		line = string(b[:n])
		return err
	})
	return line, err
}
