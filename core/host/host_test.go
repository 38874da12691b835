package host

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestVersionsOfSystemdAreRead(t *testing.T) {
	for in, want := range map[string]int{
		"systemd 252 (252.39-1~deb12u2)\n+PAM +AUDIT": 252,
		"systemd 257 (257.9-1~deb13u1)":               257,
		"systemd 258~rc1 (258~rc1-1)":                 258,
		"systemd 249.11 (249.11-0ubuntu3)":            249,
	} {
		if got, err := parseVersion(in); err != nil || got != want {
			t.Errorf("parseVersion(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "systemd", "busybox 1", "systemd x"} {
		if v, err := parseVersion(in); err == nil {
			t.Errorf("parseVersion(%q) = %d, want an error", in, v)
		}
	}
}

func TestTheKernelsCommandLineChoosesHowLinksAreNamed(t *testing.T) {
	for line, want := range map[string]int{
		"root=/dev/vda net.naming-scheme=v238 quiet\n":           238,
		"net.naming-scheme=v238 net.naming-scheme=v247":          247,
		"net.naming-scheme=v238 net.naming-scheme=latest":        257,
		"net.naming-scheme=v300":                                 257,
		"quiet net.ifnames=0 xnet.naming-scheme=v238 rd.x=v238 ": 257,
	} {
		if got := (Host{SystemdVersion: 257, Naming: parseNaming(line)}).NamingScheme(); got != want {
			t.Errorf("%q: named as systemd %d does, want %d", line, got, want)
		}
	}
}

func TestUplinksAreTheServersThatAMachineCanAsk(t *testing.T) {
	in := "# made by somebody\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver 192.0.2.53\n" +
		"nameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::53\nnameserver bad\nnameserver\noptions edns0\n"
	want := []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}
	if diff := cmp.Diff(want, parseResolvConf([]byte(in)), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
}

func TestTakenHoldsLoopbackAndNoDefaultRoute(t *testing.T) {
	taken, err := Taken(func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range taken {
		if p.Bits() == 0 {
			t.Errorf("the default route %s counts as taken", p)
		}
		found = found || p == netip.MustParsePrefix("127.0.0.0/8")
	}
	if !found {
		t.Errorf("loopback is not among %v", taken)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, a := range parseResolvConf(data) {
			if !a.IsValid() || a.IsLoopback() {
				t.Errorf("%v is no server that a machine can ask", a)
			}
		}
	})
}
