package spec

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sameAddresses = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// original is a spec in which everything is said.
func original(t *testing.T) Spec {
	t.Helper()
	s, err := Build(Input{
		Name: "origin", Distro: "debian", Release: "trixie", Packages: []string{"git"}, Directory: "/srv/machines",
		Password: PasswordGiven, InvokerKeys: true, Address: "192.168.210.200/24", Gateway: "192.168.210.9", DNS: []string{"9.9.9.9"},
		MemoryMax: "1G", CPUQuota: "50%", Publish: []string{"8080:80"}, Egress: "internet", Alias: true, HostNetwork: "builtin",
		Binds: []string{"/srv/data:/data"}, DropCapabilities: []string{"CAP_SYS_PTRACE"}, Enable: true, TTL: "2h", Labels: []string{"project=web", "stage=test"},
		Driver: "direct",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestACloneIsWishedAsItsOriginButForWhatTwoCannotShare(t *testing.T) {
	origin := original(t)
	got, err := Derive(origin, Input{Name: "copy"})
	if err != nil {
		t.Fatal(err)
	}
	want := original(t)
	want.Name = "copy"
	want.Network.Address, want.Network.Gateway, want.Network.Publish = netip.Prefix{}, netip.Addr{}, nil
	if diff := cmp.Diff(want, got, sameAddresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(original(t), origin, sameAddresses); diff != "" {
		t.Errorf("the origin's spec changed (-before +after):\n%s", diff)
	}
}

func TestWhatIsGivenToACloneWins(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7q0W0l1pmdGPcG6dHmyTRMxQ6W7kz8vVNzQ0S7yTfR user@example.org"
	origin := original(t)
	got, err := Derive(origin, Input{
		Name: "copy", Directory: "/srv/others", Address: "10.9.0.2/24", DNS: []string{"host"}, Publish: []string{"9090:90"},
		MemoryMax: "2G", TasksMax: "500", TTL: "1h", Labels: []string{"stage=live", "owner=me"}, Driver: "systemd",
		Password: PasswordGenerated, SSHKeys: []string{key},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := original(t)
	want.Name, want.Directory, want.Driver = "copy", "/srv/others", DriverSystemd
	want.Network.Address, want.Network.Gateway = netip.MustParsePrefix("10.9.0.2/24"), netip.Addr{}
	want.Network.DNS = DNS{Mode: DNSHost}
	want.Network.Publish = []Publish{{Protocol: "tcp", Host: 9090, Machine: 90}}
	want.Limits.MemoryMax, want.Limits.TasksMax = 2<<30, 500
	want.TTL, _ = ParseTTL("1h")
	want.Labels = map[string]string{"project": "web", "stage": "live", "owner": "me"}
	want.Access = Access{Password: PasswordGenerated, SSHKeys: []string{key}}
	if diff := cmp.Diff(want, got, sameAddresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEverythingThatIsWrongWithACloneIsSaid(t *testing.T) {
	_, err := Derive(original(t), Input{
		Name: "a b", Directory: "relative", Address: "here", DNS: []string{"127.0.0.1"}, Publish: []string{"x"},
		MemoryMax: "1", TTL: "soon", Labels: []string{"=", "a=1", "a=2"}, Driver: "car", SSHKeys: []string{"key"},
	})
	found, ok := err.(Invalid) //nolint:errorlint // it is what Derive returns
	if !ok {
		t.Fatalf("got %v", err)
	}
	var fields []string
	for _, f := range found {
		fields = append(fields, f.Field)
		if f.Hint == "" {
			t.Errorf("%s: no hint", f.Field)
		}
	}
	want := []string{"name", "directory", "driver", "limits.memory-max", "network.address", "network.dns", "network.publish", "ttl", "label", "label", "ssh-key"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A clone is held to what its origin is.
func TestWhatItsOriginCannotHaveACloneCannot(t *testing.T) {
	for _, c := range []struct {
		field      string
		origin, in Input
	}{
		{"limits.memory-max", Input{Profile: "sandbox"}, Input{MemoryMax: "infinity"}},
		{"network.publish", Input{PrivateNetwork: true}, Input{Publish: []string{"8080:80"}}},
		{"network.address", Input{PrivateNetwork: true}, Input{Address: "10.9.0.2/24"}},
		{"network.dns", Input{PrivateNetwork: true}, Input{DNS: []string{"9.9.9.9"}}},
	} {
		c.origin.Name, c.origin.Distro, c.origin.Directory = "origin", "debian", "/srv/machines"
		origin, err := Build(c.origin)
		if err != nil {
			t.Fatal(err)
		}
		c.in.Name = "copy"
		_, err = Derive(origin, c.in)
		if found, ok := err.(Invalid); !ok || len(found) != 1 || found[0].Field != c.field { //nolint:errorlint // it is what Derive returns
			t.Errorf("%s: %v", c.field, err)
		}
	}
}
