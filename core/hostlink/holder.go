package hostlink

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// holder names who has a port of this host, as far as that can be told.
func holder(p spec.Publish) string {
	const somebody = "another program of this host"
	inodes := socketsAt("/proc/thread-self/net/"+p.Protocol, p)
	inodes = append(inodes, socketsAt("/proc/thread-self/net/"+p.Protocol+"6", p)...)
	if len(inodes) == 0 {
		return somebody
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return somebody
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !slices.Contains(inodes, target) {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		name, err := os.ReadFile(process + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (process %s)", strconv.Quote(strings.TrimSpace(string(name))), filepath.Base(process))
	}
	return somebody
}

// socketsAt lists the sockets of this host that are bound to the port, as the
// descriptors of their processes show them.
func socketsAt(table string, p spec.Publish) []string {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var found []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if inode, ok := boundTo(lines.Text(), p); ok {
			found = append(found, "socket:["+inode+"]")
		}
	}
	return found
}

// boundTo reads a line of /proc/net/tcp and its like, see proc_pid_net(5).
func boundTo(line string, p spec.Publish) (inode string, ok bool) {
	const local, state, inodeField = 1, 3, 9
	fields := strings.Fields(line)
	if len(fields) <= inodeField {
		return "", false
	}
	address, port, _ := strings.Cut(fields[local], ":")
	if n, err := strconv.ParseUint(port, 16, 16); err != nil || uint16(n) != p.Host {
		return "", false
	}
	if p.Protocol == "tcp" && fields[state] != "0A" { // it does not listen
		return "", false
	}
	at := kernelAddress(address)
	if p.Address.IsValid() && !at.IsUnspecified() && at != p.Address {
		return "", false
	}
	return fields[inodeField], true
}

// kernelAddress reads an address as /proc/net has it: words of four bytes in
// the order of the processor, which is little-endian wherever this runs.
func kernelAddress(text string) netip.Addr {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw)%4 != 0 {
		return netip.Addr{}
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a.Unmap()
}
