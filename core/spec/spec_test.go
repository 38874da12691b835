package spec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7q0W0l1pmdGPcG6dHmyTRMxQ6W7kz8vVNzQ0S7yTfR someone@example.org"

func good() spec.Input {
	return spec.Input{Name: "box", Distro: "debian", Directory: "/var/lib/machines", SSHKeys: []string{key}}
}

func TestPlainInputGivesASpecThatLeavesDefaultsOpen(t *testing.T) {
	got, err := spec.Build(good())
	if err != nil {
		t.Fatal(err)
	}
	want := spec.Spec{
		Version: 1, Name: "box", Distro: "debian", Directory: "/var/lib/machines",
		Access:  spec.Access{SSHKeys: []string{key}},
		Network: spec.Network{DNS: spec.DNS{Mode: spec.DNSAuto}},
		Driver:  spec.DriverAuto,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestEveryFieldIsRead(t *testing.T) {
	in := good()
	in.Release, in.Arch = "trixie", "amd64"
	in.Mirrors, in.Keyring = []string{"http://mirror.example.org/debian"}, "/keys.gpg"
	in.Options, in.Packages = []string{"engine=debootstrap", "empty="}, []string{"vim", "git"}
	in.Password = spec.PasswordGiven
	in.Address, in.Gateway, in.DNS = "10.9.8.7/24", "10.9.8.254", []string{"9.9.9.9", "2620:fe::fe"}
	in.CPUQuota, in.MemoryMax, in.IOWeight, in.TasksMax = "250%", "512M", "10000", "infinity"
	in.Driver = "direct"
	got, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	want := spec.Spec{
		Version: 1, Name: "box", Distro: "debian", Release: "trixie", Arch: "x86_64",
		Mirrors: in.Mirrors, Keyring: in.Keyring, Packages: in.Packages,
		Options: map[string]string{"engine": "debootstrap", "empty": ""}, Directory: "/var/lib/machines",
		Access: spec.Access{Password: spec.PasswordGiven, SSHKeys: []string{key}},
		Network: spec.Network{
			Address: netip.MustParsePrefix("10.9.8.7/24"), Gateway: netip.MustParseAddr("10.9.8.254"),
			DNS: spec.DNS{Mode: spec.DNSServers, Servers: []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2620:fe::fe")}},
		},
		Limits: spec.Limits{CPUQuota: 250, MemoryMax: 512 << 20, IOWeight: 10000, TasksMax: spec.Infinity},
		Driver: spec.DriverDirect,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestBadInputIsRefusedWithFieldValueAndHint(t *testing.T) {
	set := func(f func(*spec.Input)) spec.Input {
		in := good()
		f(&in)
		return in
	}
	tests := []struct {
		field, value string
		in           spec.Input
	}{
		{"name", "", set(func(i *spec.Input) { i.Name = "" })},
		{"name", "../x", set(func(i *spec.Input) { i.Name = "../x" })},
		{"name", ".", set(func(i *spec.Input) { i.Name = "." })},
		{"name", "-x", set(func(i *spec.Input) { i.Name = "-x" })},
		{"name", "x-", set(func(i *spec.Input) { i.Name = "x-" })},
		{"name", "a..b", set(func(i *spec.Input) { i.Name = "a..b" })},
		{"name", "a_b", set(func(i *spec.Input) { i.Name = "a_b" })},
		{"name", "%i", set(func(i *spec.Input) { i.Name = "%i" })},
		{"name", "a\nb", set(func(i *spec.Input) { i.Name = "a\nb" })},
		{"name", strings.Repeat("x", 65), set(func(i *spec.Input) { i.Name = strings.Repeat("x", 65) })},
		{"distro", "", set(func(i *spec.Input) { i.Distro = "" })},
		{"distro", "Debian 13", set(func(i *spec.Input) { i.Distro = "Debian 13" })},
		{"release", "-trixie", set(func(i *spec.Input) { i.Release = "-trixie" })},
		{"release", "tri xie", set(func(i *spec.Input) { i.Release = "tri xie" })},
		{"arch", "--arch", set(func(i *spec.Input) { i.Arch = "--arch" })},
		{"mirror", "-o", set(func(i *spec.Input) { i.Mirrors = []string{"-o"} })},
		{"mirror", "example", set(func(i *spec.Input) { i.Mirrors = []string{"example"} })},
		{"mirror", "http://a b/", set(func(i *spec.Input) { i.Mirrors = []string{"http://a b/"} })},
		{"mirror", "http://a/\nx", set(func(i *spec.Input) { i.Mirrors = []string{"http://a/\nx"} })},
		{"keyring", "rel", set(func(i *spec.Input) { i.Keyring = "rel" })},
		{"option", "novalue", set(func(i *spec.Input) { i.Options = []string{"novalue"} })},
		{"option", "a=2", set(func(i *spec.Input) { i.Options = []string{"a=1", "a=2"} })},
		{"package", "--yes", set(func(i *spec.Input) { i.Packages = []string{"--yes"} })},
		{"package", "", set(func(i *spec.Input) { i.Packages = []string{""} })},
		{"directory", "relative", set(func(i *spec.Input) { i.Directory = "relative" })},
		{"directory", "/", set(func(i *spec.Input) { i.Directory = "/" })},
		{"ssh-key", "not a key", set(func(i *spec.Input) { i.SSHKeys = []string{"not a key"} })},
		{"network.address", "10.0.0.1", set(func(i *spec.Input) { i.Address = "10.0.0.1" })},
		{"network.address", "fd00::1/64", set(func(i *spec.Input) { i.Address = "fd00::1/64" })},
		{"network.address", "10.0.0.0/24", set(func(i *spec.Input) { i.Address = "10.0.0.0/24" })},
		{"network.address", "10.0.0.255/24", set(func(i *spec.Input) { i.Address = "10.0.0.255/24" })},
		{"network.address", "10.0.0.1/24", set(func(i *spec.Input) { i.Address = "10.0.0.1/24" })},
		{"network.address", "127.0.0.9/24", set(func(i *spec.Input) { i.Address = "127.0.0.9/24" })},
		{"network.address", "10.0.0.9/31", set(func(i *spec.Input) { i.Address = "10.0.0.9/31" })},
		{"network.gateway", "10.0.1.1", set(func(i *spec.Input) { i.Address, i.Gateway = "10.0.0.9/24", "10.0.1.1" })},
		{"network.gateway", "10.0.0.9", set(func(i *spec.Input) { i.Address, i.Gateway = "10.0.0.9/24", "10.0.0.9" })},
		{"network.gateway", "10.0.0.1", set(func(i *spec.Input) { i.Gateway = "10.0.0.1" })},
		{"network.dns", "dns.example", set(func(i *spec.Input) { i.DNS = []string{"dns.example"} })},
		{"network.dns", "127.0.0.53", set(func(i *spec.Input) { i.DNS = []string{"127.0.0.53"} })},
		{"network.dns", "auto", set(func(i *spec.Input) { i.DNS = []string{"auto", "9.9.9.9"} })},
		{"limits.cpu-quota", "50", set(func(i *spec.Input) { i.CPUQuota = "50" })},
		{"limits.cpu-quota", "0%", set(func(i *spec.Input) { i.CPUQuota = "0%" })},
		{"limits.memory-max", "12X", set(func(i *spec.Input) { i.MemoryMax = "12X" })},
		{"limits.memory-max", "1M", set(func(i *spec.Input) { i.MemoryMax = "1M" })},
		{"limits.memory-max", "99999999999T", set(func(i *spec.Input) { i.MemoryMax = "99999999999T" })},
		{"limits.memory-max", "M", set(func(i *spec.Input) { i.MemoryMax = "M" })},
		{"limits.io-weight", "10001", set(func(i *spec.Input) { i.IOWeight = "10001" })},
		{"limits.tasks-max", "-5", set(func(i *spec.Input) { i.TasksMax = "-5" })},
		{"limits.tasks-max", "3", set(func(i *spec.Input) { i.TasksMax = "3" })},
		{"driver", "docker", set(func(i *spec.Input) { i.Driver = "docker" })},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %q", tt.field, tt.value), func(t *testing.T) {
			_, err := spec.Build(tt.in)
			var invalid spec.Invalid
			if !errors.As(err, &invalid) || len(invalid) != 1 {
				t.Fatalf("Build: %v, want exactly one finding", err)
			}
			e := invalid[0]
			if e.Field != tt.field || e.Value != tt.value || e.Hint == "" {
				t.Errorf("finding %+v, want field %q, value %q and a hint", e, tt.field, tt.value)
			}
			if strings.ContainsAny(e.Error(), "\n\x00") || !strings.HasPrefix(e.Error(), tt.field+": ") {
				t.Errorf("error is not one line about the field: %q", e.Error())
			}
		})
	}
}

func TestAllFindingsAreReportedAtOnce(t *testing.T) {
	in := good()
	in.Name, in.MemoryMax, in.Driver = "-", "many", "none"
	_, err := spec.Build(in)
	var invalid spec.Invalid
	if !errors.As(err, &invalid) || len(invalid) != 3 {
		t.Errorf("Build: %v, want three findings", err)
	}
}

func TestSizesAreReadAsSystemdReadsThem(t *testing.T) {
	for in, want := range map[string]uint64{
		"16777216": 16 << 20, "16384K": 16 << 20, "512M": 512 << 20, "8G": 8 << 30, "2T": 2 << 40, "infinity": spec.Infinity,
	} {
		if got, e := spec.ParseSize("f", in); e != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, e, want)
		}
	}
}

func TestLimitsReadAsTheyWereWritten(t *testing.T) {
	l := spec.Limits{CPUQuota: 50, MemoryMax: 1536 << 20, IOWeight: 7, TasksMax: spec.Infinity}
	want := []string{"CPUQuota=50%", "MemoryMax=1536M", "IOWeight=7", "TasksMax=infinity"}
	if diff := cmp.Diff(want, l.Words()); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

func TestSecretsShowThemselvesNowhere(t *testing.T) {
	const marker = "hunter2-marker"
	s := spec.NewSecret(marker)
	data, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(data), fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%+v", struct{ S spec.Secret }{s})} {
		if strings.Contains(text, marker) {
			t.Errorf("the secret shows in %q", text)
		}
	}
	if e := spec.ParseHash("no:hash" + marker); e == nil || strings.Contains(e.Error()+e.Hint, marker) {
		t.Errorf("ParseHash: %v, want an error that does not repeat the value", e)
	}
}

func TestHashesOfCryptAreTaken(t *testing.T) {
	for _, h := range []string{
		"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
		"$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g.",
		"$6$rounds=5000$usesomesil$D4IrlXatmP7rx3P3InaxBeoomnAihCKRVQAr/36KAXUq1Ej9bVKm1Gd1Vd0VRmKXmMlTOyIDcOJtCZHXaVFC91",
	} {
		if e := spec.ParseHash(h); e != nil {
			t.Errorf("ParseHash(%q): %v", h, e)
		}
	}
	for _, h := range []string{"", "plain", "$6$a:b$c", "$6$salt$abc\nroot::", "*", "!"} {
		if spec.ParseHash(h) == nil {
			t.Errorf("ParseHash(%q) took it", h)
		}
	}
}

func TestDiffNamesTheFields(t *testing.T) {
	a, err := spec.Build(good())
	if err != nil {
		t.Fatal(err)
	}
	if d := spec.Diff(a, a); d != nil {
		t.Errorf("a spec differs from itself: %v", d)
	}
	in := good()
	in.MemoryMax, in.Release = "1G", "sid"
	b, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []spec.Difference{
		{Field: "limits.memoryMax", Before: "", After: "1073741824"},
		{Field: "release", Before: "", After: `"sid"`},
	}
	if diff := cmp.Diff(want, spec.Diff(a, b)); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
}

func TestSpecSurvivesTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := good()
		in.Release = rapid.SampledFrom([]string{"", "trixie", "44"}).Draw(t, "release")
		in.Address = rapid.SampledFrom([]string{"", "10.1.2.3/24"}).Draw(t, "address")
		in.TasksMax = rapid.SampledFrom([]string{"", "infinity", "100"}).Draw(t, "tasks")
		in.Packages = rapid.SliceOfN(rapid.StringMatching(`[a-z][a-z0-9.+-]{1,9}`), 0, 3).Draw(t, "packages")
		before, err := spec.Build(in)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}
		var after spec.Spec
		if err := json.Unmarshal(data, &after); err != nil {
			t.Fatal(err)
		}
		if d := spec.Diff(before, after); d != nil {
			t.Fatalf("differs after the disk: %v", d)
		}
	})
}

func FuzzBuildNeverLetsAControlCharacterThrough(f *testing.F) {
	f.Add("box", "trixie", "http://x/", "vim", "9.9.9.9")
	f.Add("a\x00", "-x", "file:///\n", "a b", "::1%eth0")
	f.Fuzz(func(t *testing.T, name, release, mirror, pkg, dns string) {
		in := good()
		in.Name, in.Release, in.Mirrors, in.Packages, in.DNS = name, release, []string{mirror}, []string{pkg}, []string{dns}
		s, err := spec.Build(in)
		if err != nil {
			return
		}
		for _, v := range []string{s.Name, s.Release, s.Mirrors[0], s.Packages[0]} {
			if strings.ContainsAny(v, "\n\r\x00\x1b \"'") || strings.HasPrefix(v, "-") {
				t.Errorf("%q was let through", v)
			}
		}
	})
}
