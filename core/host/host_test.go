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

func TestHostsBelongToTheFamilyOfTheirPackageManager(t *testing.T) {
	for release, want := range map[string]string{
		"ID=debian\n":                                         "debian",
		"ID=ubuntu\nID_LIKE=debian\n":                         "debian",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n":           "debian",
		"ID=arch\n":                                           "arch",
		"ID=manjaro\nID_LIKE=arch\n":                          "arch",
		"NAME=\"Fedora Linux\"\nID=fedora\n":                  "fedora",
		"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n":      "fedora",
		"ID=nixos\n":                                          "",
		"# ID=debian\nID='opensuse-leap'\nID_LIKE='suse x'\n": "",
	} {
		if got := family(parseOSRelease([]byte(release))); got != want {
			t.Errorf("family(%q) = %q, want %q", release, got, want)
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

func TestInstallHintIsTheCommandOfTheFamily(t *testing.T) {
	for family, want := range map[string]string{
		"debian": "apt-get install a b", "arch": "pacman -S a b", "fedora": "dnf install a b", "": "",
	} {
		if got := InstallCommand(family, "a", "b"); got != want {
			t.Errorf("InstallCommand(%q) = %q, want %q", family, got, want)
		}
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

func FuzzOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nID_LIKE=\"a b\"\n"))
	f.Add([]byte("=\n==\n\"\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { family(parseOSRelease(data)) })
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
