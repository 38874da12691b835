package unitfile

import (
	"bytes"
	"fmt"
	"strings"
)

// EtherNetwork has networkd ask for an address on links other than a
// container's host0, for which systemd has a file of its own: those of an image
// that is booted in a virtual machine, as
// /etc/systemd/network/85-nspawn-build.network in its tree.
func EtherNetwork() ([]byte, error) {
	var f file
	f.in("Match")
	f.set("Type", "ether")
	f.set("Kind", "!*") // no bridge, bond or veth
	f.in("Network")
	f.set("DHCP", "yes")
	return f.render("")
}

// HostKeysUnit makes the SSH host keys of an image when it boots for the first
// time, before any of these units.
func HostKeysUnit(before []string) ([]byte, error) {
	h, err := header("")
	if err != nil {
		return nil, err
	}
	for _, name := range before {
		if err := checkUnit("Before", name); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n[Unit]\nDescription=Make SSH host keys\nConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key\nAfter=local-fs.target\nBefore=%s\n\n", h, strings.Join(before, " "))
	b.WriteString("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=ssh-keygen -A\n\n[Install]\nWantedBy=multi-user.target\n")
	return b.Bytes(), nil
}
