package testhost

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the host's side and the outside have for addresses. They are of a
// block that the RFCs set apart for documentation.
const (
	OutsideName    = "outside.test" // serves OutsideText over HTTP on port 80
	OutsideText    = "outside says hello\n"
	OutsideAddress = "203.0.113.1"
	HostAddress    = "203.0.113.2"
	hostPrefix     = HostAddress + "/24"
	firstSite      = "203.0.113.4"
	hostLink       = "eth0"
)

// outside is all the world that a host can reach: a namespace joined to the
// host's by a veth pair, with a name server, a web page, and for each apt
// mirror of this machine an address of its own whose ports lead to it.
type outside struct {
	ns      *os.File
	names   zone
	closers []io.Closer
	conns   sync.WaitGroup
	stop    context.CancelFunc
}

// newOutside makes the namespace and joins it to the host's.
func newOutside(host *os.File, mirrors []string, sites map[string]http.Handler) (*outside, error) {
	ns, err := newNetwork()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	o := &outside{ns: ns, names: zone{OutsideName + ".": netip.MustParseAddr(OutsideAddress)}, stop: stop}
	if err := o.join(host); err != nil {
		o.close()
		return nil, err
	}
	if err := o.serve(ctx, mirrors, sites); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// join makes the veth pair. The host's end is left down and without an
// address: configuring it is the host's own business.
func (o *outside) join(host *os.File) error {
	return inNetwork(o.ns, func() error {
		pair := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: "outside"},
			PeerName:      hostLink,
			PeerNamespace: netlink.NsFd(int(host.Fd())),
		}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("join the host to the outside: %w", err)
		}
		for _, name := range []string{"lo", "outside"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("find the link %s: %w", name, err)
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return fmt.Errorf("set %s up: %w", name, err)
			}
		}
		return addAddress("outside", OutsideAddress+"/24")
	})
}

// addAddress gives a link of the calling thread's namespace an address.
func addAddress(link, prefix string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("find the link %s: %w", link, err)
	}
	address, err := netlink.ParseAddr(prefix)
	if err != nil {
		return fmt.Errorf("parse the address %s: %w", prefix, err)
	}
	if err := netlink.AddrAdd(l, address); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link, prefix, err)
	}
	return nil
}

// serve opens the listening sockets outside and serves them from here.
func (o *outside) serve(ctx context.Context, mirrors []string, sites map[string]http.Handler) error {
	return inNetwork(o.ns, func() error {
		for _, mirror := range mirrors {
			name, port, err := net.SplitHostPort(mirror)
			if err != nil {
				return fmt.Errorf("mirror %q: %w", mirror, err)
			}
			listener, err := o.listenAs(ctx, name, port)
			if err != nil {
				return err
			}
			go o.forward(ctx, listener, mirror)
		}
		for name, handler := range sites {
			listener, err := o.listenAs(ctx, name, "80")
			if err != nil {
				return err
			}
			o.serveWeb(listener, handler)
		}
		page, err := o.listen(ctx, net.JoinHostPort(OutsideAddress, "80"))
		if err != nil {
			return err
		}
		o.serveWeb(page, http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, OutsideText) }))
		queries, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", net.JoinHostPort(OutsideAddress, "53"))
		if err != nil {
			return fmt.Errorf("listen for DNS outside: %w", err)
		}
		o.closers = append(o.closers, queries)
		go o.names.serveDNS(queries)
		return nil
	})
}

// serveWeb serves HTTP until the outside is closed.
func (o *outside) serveWeb(listener net.Listener, handler http.Handler) {
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: handler}
	o.closers = append(o.closers, server)
	go func() { _ = server.Serve(listener) }()
}

// listenAs opens a TCP socket under a name, which has an address of its own.
func (o *outside) listenAs(ctx context.Context, name, port string) (net.Listener, error) {
	address, known := o.names[name+"."]
	if !known {
		address = netip.MustParseAddr(firstSite)
		for range len(o.names) - 1 { // the outside itself is no site
			address = address.Next()
		}
		o.names[name+"."] = address
		if err := addAddress("outside", address.String()+"/32"); err != nil {
			return nil, err
		}
	}
	return o.listen(ctx, net.JoinHostPort(address.String(), port))
}

// listen opens a TCP socket in the calling thread's namespace.
func (o *outside) listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("listen outside: %w", err)
	}
	o.closers = append(o.closers, l)
	return l, nil
}

// forward leads every connection to the mirror, dialled from the namespace
// that the test process was started in.
func (o *outside) forward(ctx context.Context, listener net.Listener, mirror string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // closed
		}
		o.conns.Go(func() {
			defer func() { _ = client.Close() }()
			server, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(ctx, "tcp", mirror)
			if err != nil {
				return // the client sees its connection closed
			}
			defer func() { _ = server.Close() }()
			defer context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })()
			var up sync.WaitGroup
			up.Go(func() { pump(server, client) })
			pump(client, server)
			up.Wait()
		})
	}
}

// pump copies until the sender is done and tells the receiver so.
func pump(to, from net.Conn) {
	_, _ = io.Copy(to, from) // how it ended shows at the receiver
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// close ends everything outside; the link goes with the namespace.
func (o *outside) close() {
	o.stop()
	for _, c := range o.closers {
		_ = c.Close()
	}
	o.conns.Wait()
	_ = o.ns.Close()
}

// pingable waits until the host's end answers from the outside, which is when
// its address is set and its link up.
func (o *outside) pingable(ctx context.Context) error {
	for {
		err := inNetwork(o.ns, func() error {
			// A closed port that refuses is as good a sign of life as an open one.
			c, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(ctx, "tcp4", net.JoinHostPort(HostAddress, "9"))
			if err == nil {
				_ = c.Close()
			}
			return err
		})
		if err == nil || isErrno(err, unix.ECONNREFUSED) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the host does not answer at %s: %w", HostAddress, err)
		case <-time.After(30 * time.Millisecond):
		}
	}
}
