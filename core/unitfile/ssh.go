package unitfile

import (
	"bytes"
	"fmt"
	"net/netip"
	"path"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// KnownHostsPath is where SSHConfig has ssh look for the machines' host keys.
const KnownHostsPath = "/etc/nspawn-build/known_hosts"

// suffix makes of a machine's name one that no other host has.
const suffix = ".nspawn"

// SSHHost is a machine as ssh reaches it.
type SSHHost struct {
	Name    string
	Address netip.Addr
	Alias   bool // by its plain name too
}

// KnownHost is a machine with the public host keys that we made for it, each
// in the form of authorized_keys.
type KnownHost struct {
	Name    string
	Address netip.Addr
	Keys    []string
}

// SSHConfig lets the host's users say `ssh root@ADDRESS` and `ssh NAME.nspawn`,
// as /etc/ssh/ssh_config.d/50-nspawn-build.conf. Either way the key is looked
// up under the machine's name, in our file alone, so that an address that had
// another machine yesterday is no obstacle, and nobody's own known_hosts is
// written to.
func SSHConfig(hosts []SSHHost) ([]byte, error) {
	h, err := header("")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(h)
	for _, m := range hosts {
		if err := checkHost(m.Name, m.Address); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\nHost %s %s%s", m.Address, m.Name, suffix)
		if m.Alias {
			b.WriteString(" " + m.Name)
		}
		b.WriteByte('\n')
		for _, line := range []string{
			"HostName " + m.Address.String(),
			"User root",
			"HostKeyAlias " + m.Name + suffix,
			"UserKnownHostsFile " + KnownHostsPath,
			"StrictHostKeyChecking yes",
		} {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	return b.Bytes(), nil
}

// KnownHosts is the file at KnownHostsPath. Every key stands under the
// machine's name and its address.
func KnownHosts(hosts []KnownHost) ([]byte, error) {
	h, err := header("")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(h)
	for _, m := range hosts {
		if err := checkHost(m.Name, m.Address); err != nil {
			return nil, err
		}
		for _, line := range m.Keys {
			key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
			if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
				return nil, &ValueError{"host key of " + m.Name, line, "is not one public key"}
			}
			b.WriteString(knownhosts.Line([]string{m.Name + suffix, m.Address.String()}, key) + "\n")
		}
	}
	return b.Bytes(), nil
}

func checkHost(name string, address netip.Addr) error {
	if err := checkMachine(name); err != nil {
		return err
	}
	if !address.IsValid() || address.Zone() != "" {
		return &ValueError{"address of " + name, address.String(), "is not an address"}
	}
	return nil
}

// RootLogin is a value of sshd's PermitRootLogin.
type RootLogin string

// The values.
const (
	RootLoginYes  RootLogin = "yes"
	RootLoginKeys RootLogin = "prohibit-password" // by public key only
	RootLoginNo   RootLogin = "no"
)

// SSHD is how one logs in to a machine, as
// /etc/ssh/sshd_config.d/00-nspawn-build.conf in its tree. sshd keeps the
// first value it reads: the low number goes before the distribution's files.
type SSHD struct {
	PermitRootLogin        RootLogin
	PasswordAuthentication bool
	HostKeys               []string // absolute paths in the tree; empty means sshd's default
}

// Render returns the file.
func (d SSHD) Render() ([]byte, error) {
	h, err := header("")
	if err != nil {
		return nil, err
	}
	switch d.PermitRootLogin {
	case RootLoginYes, RootLoginKeys, RootLoginNo:
	default:
		return nil, &ValueError{"PermitRootLogin", string(d.PermitRootLogin), "is not yes, prohibit-password or no"}
	}
	password := "no"
	if d.PasswordAuthentication {
		password = "yes"
	}
	var b bytes.Buffer
	b.WriteString(h)
	fmt.Fprintf(&b, "\nPermitRootLogin %s\nPasswordAuthentication %s\n", d.PermitRootLogin, password)
	// PAM would ask for the password under this name too.
	b.WriteString("KbdInteractiveAuthentication no\n")
	for _, key := range d.HostKeys {
		if err := checkValue("HostKey", key); err != nil {
			return nil, err
		}
		if !path.IsAbs(key) || strings.ContainsAny(key, " \"'\\#%") {
			return nil, &ValueError{"HostKey", key, "is not a plain absolute path"}
		}
		fmt.Fprintf(&b, "HostKey %s\n", key)
	}
	return b.Bytes(), nil
}
