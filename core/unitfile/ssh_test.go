package unitfile

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// ssh itself, asked for what it would do, reads our file the same way whether
// one names the address or the machine.
func TestSSHGoesByTheMachinesKeyUnderEitherName(t *testing.T) {
	client, err := exec.LookPath("ssh")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	data, err := SSHConfig([]SSHHost{{Name: "Web.example", Address: netip.MustParseAddr("192.168.201.200")}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"192.168.201.200", "Web.example.nspawn"} {
		out, err := exec.CommandContext(t.Context(), client, "-F", file, "-G", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"user root", "hostname 192.168.201.200", "stricthostkeychecking true",
			"hostkeyalias Web.example.nspawn", "userknownhostsfile " + KnownHostsPath,
		} {
			// ssh prints an alias in lower case, and looks it up in any.
			said := func(line string) bool { return strings.EqualFold(line, want) }
			if !slices.ContainsFunc(strings.Split(string(out), "\n"), said) {
				t.Errorf("ssh %s: no %q in\n%s", name, want, out)
			}
		}
	}
	out, err := exec.CommandContext(t.Context(), client, "-F", file, "-G", "192.168.201.20").Output()
	if err != nil || strings.Contains(string(out), KnownHostsPath) {
		t.Errorf("another host is treated as a machine: %v\n%s", err, out)
	}
}

func TestOnlyTheMachinesOwnKeyIsKnown(t *testing.T) {
	data, err := KnownHosts([]KnownHost{{"Web.example", addr("192.168.201.200"), []string{hostKey}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(file)
	if err != nil {
		t.Fatal(err)
	}
	key := func(line string) ssh.PublicKey {
		k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	other := strings.Replace(hostKey, "IHo6", "IHo7", 1)
	at := &net.TCPAddr{IP: net.IPv4(192, 168, 201, 200), Port: 22}
	for _, name := range []string{"192.168.201.200:22", "Web.example.nspawn:22"} {
		if err := check(name, at, key(hostKey)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if check(name, at, key(other)) == nil {
			t.Errorf("%s: another key passes", name)
		}
	}
}
