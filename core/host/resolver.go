package host

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// uplinkFiles name the DNS servers that this host asks, the better source
// first. The first is resolved's list of the servers behind its stub.
var uplinkFiles = []string{"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"}

// Uplinks are the DNS servers that this host asks and that a machine can ask
// as well: those on loopback are left out. Empty when there are none.
func Uplinks() []netip.Addr {
	for _, path := range uplinkFiles {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if servers := parseResolvConf(data); len(servers) > 0 {
			return servers
		}
	}
	return nil
}

func parseResolvConf(data []byte) []netip.Addr {
	var servers []netip.Addr
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(fields[1])
		// A link-local server has a meaning on the host's link only.
		if err != nil || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || slices.Contains(servers, a) {
			continue
		}
		servers = append(servers, a)
	}
	return servers
}
