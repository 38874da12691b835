package spec_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// everything asks for all that goes beyond a plain machine.
func everything() spec.Input {
	in := good()
	in.Alias, in.Egress, in.HostNetwork = true, "internet", "builtin"
	in.Publish = []string{"8080:80", "127.0.0.1:2222:22/tcp", "53/udp"}
	in.Binds, in.BindsReadOnly = []string{"/srv/work:/workspace", `/srv/a\:b`}, []string{"/etc/ssl:/ssl"}
	in.Ephemeral = true
	in.Capabilities, in.DropCapabilities = []string{"sys_admin"}, []string{"CAP_SYS_PTRACE", "mknod", "cap_mknod"}
	in.SystemCallFilter, in.NoNewPrivileges, in.PrivateUsers = []string{"@system-service", "~ptrace"}, true, "identity"
	in.Enable, in.TTL, in.Labels = true, "2h", []string{"project=web", "owner"}
	in.MemoryHigh, in.IOBandwidth = "256M", "50M"
	return in
}

func TestWhatGoesBeyondAPlainMachineIsRead(t *testing.T) {
	got, err := spec.Build(everything())
	if err != nil {
		t.Fatal(err)
	}
	want, err := spec.Build(good())
	if err != nil {
		t.Fatal(err)
	}
	want.Network.Alias, want.Network.Egress, want.Network.Host = true, spec.EgressInternet, spec.HostNetworkBuiltin
	want.Network.Publish = []spec.Publish{
		{Protocol: "tcp", Host: 8080, Machine: 80},
		{Protocol: "tcp", Address: netip.MustParseAddr("127.0.0.1"), Host: 2222, Machine: 22},
		{Protocol: "udp", Host: 53, Machine: 53},
	}
	want.Storage = spec.Storage{Ephemeral: true, Binds: []spec.Bind{
		{Source: "/srv/work", Target: "/workspace"},
		{Source: "/srv/a:b", Target: "/srv/a:b"},
		{Source: "/etc/ssl", Target: "/ssl", ReadOnly: true},
	}}
	want.Security = spec.Security{
		Capabilities: []string{"CAP_SYS_ADMIN"}, DropCapabilities: []string{"CAP_SYS_PTRACE", "CAP_MKNOD"},
		SystemCallFilter: []string{"@system-service", "~ptrace"}, NoNewPrivileges: true, PrivateUsers: spec.PrivateUsersIdentity,
	}
	want.Enable, want.TTL, want.Labels = true, spec.Duration(2*time.Hour), map[string]string{"project": "web", "owner": ""}
	want.Limits = spec.Limits{MemoryHigh: 256 << 20, IOBandwidth: 50 << 20}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var again spec.Spec
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if diff := spec.Diff(got, again); diff != nil {
		t.Errorf("it comes back from disk with %v", diff)
	}
}

func TestWhatCannotBeWishedIsRefusedWithFieldAndHint(t *testing.T) {
	for _, c := range []struct {
		field string
		set   func(*spec.Input)
	}{
		{"network.publish", func(i *spec.Input) { i.Publish = []string{"x"} }},
		{"network.publish", func(i *spec.Input) { i.Publish = []string{"0:80"} }},
		{"network.publish", func(i *spec.Input) { i.Publish = []string{"80:65536"} }},
		{"network.publish", func(i *spec.Input) { i.Publish = []string{"80:80/sctp"} }},
		{"network.publish", func(i *spec.Input) { i.Publish = []string{"::1:80:80"} }},
		{"network.publish", func(i *spec.Input) { i.Publish = []string{"80:80", "127.0.0.1:80:81"} }},
		{"network.egress", func(i *spec.Input) { i.Egress = "lan" }},
		{"network.host", func(i *spec.Input) { i.HostNetwork = "netplan" }},
		{"storage.bind", func(i *spec.Input) { i.Binds = []string{"srv:/x"} }},
		{"storage.bind", func(i *spec.Input) { i.Binds = []string{"/srv:/"} }},
		{"storage.bind", func(i *spec.Input) { i.Binds = []string{"/srv:/x/.."} }},
		{"storage.bind", func(i *spec.Input) { i.Binds = []string{"/srv:/x:rx"} }},
		{"storage.bind", func(i *spec.Input) { i.Binds = []string{"/srv:/x:ro:ro"} }},
		{"storage.bind", func(i *spec.Input) { i.Binds = []string{"/srv\n:/x"} }},
		{"storage.bind", func(i *spec.Input) { i.BindsReadOnly = []string{"/srv:/x:rw"} }},
		{"storage.bind", func(i *spec.Input) { i.Binds = []string{"/a:/x", "/b:/x"} }},
		{"security.profile", func(i *spec.Input) { i.Profile = "strict" }},
		{"security.capability", func(i *spec.Input) { i.Capabilities = []string{"SYS ADMIN"} }},
		{"security.drop-capability", func(i *spec.Input) { i.DropCapabilities = []string{"a\nBind=/"} }},
		{"security.private-users", func(i *spec.Input) { i.PrivateUsers = "yes" }},
		{"security.system-call-filter", func(i *spec.Input) { i.SystemCallFilter = []string{"a b"} }},
		{"ttl", func(i *spec.Input) { i.TTL = "tomorrow" }},
		{"ttl", func(i *spec.Input) { i.TTL = "-1h" }},
		{"label", func(i *spec.Input) { i.Labels = []string{"=x"} }},
		{"label", func(i *spec.Input) { i.Labels = []string{"a=1", "a=2"} }},
		{"label", func(i *spec.Input) { i.Labels = []string{"a=\x1b[31m"} }},
		{"limits.memory-high", func(i *spec.Input) { i.MemoryHigh = "lots" }},
		{"limits.io-bandwidth", func(i *spec.Input) { i.IOBandwidth = "1" }},
	} {
		in := good()
		c.set(&in)
		_, err := spec.Build(in)
		var bad spec.Invalid
		if !errors.As(err, &bad) || bad[0].Field != c.field || bad[0].Hint == "" {
			t.Errorf("%+v: the error is %v, want one about %s with a hint", in, err, c.field)
		}
	}
}

func TestWhatAFlagReadsItWrites(t *testing.T) {
	path := rapid.StringMatching(`/[a-z:\\ ]{0,6}[a-z]`)
	rapid.Check(t, func(t *rapid.T) {
		bind := spec.Bind{Source: path.Draw(t, "source"), Target: path.Draw(t, "target"), ReadOnly: rapid.Bool().Draw(t, "ro")}
		if got, e := spec.ParseBind(bind.String(), false); e != nil || got != bind {
			t.Errorf("%v was written %s and read as %v, %v", bind, bind, got, e)
		}
		port := rapid.Uint16Min(1)
		p := spec.Publish{Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol"), Host: port.Draw(t, "host"), Machine: port.Draw(t, "machine")}
		if got, e := spec.ParsePublish(p.String()); e != nil || got != p {
			t.Errorf("%v was written %s and read as %v, %v", p, p, got, e)
		}
	})
}

func FuzzParseBind(f *testing.F) {
	f.Add("/srv:/work:ro")
	f.Add(`/a\:b:/c`)
	f.Fuzz(func(t *testing.T, s string) {
		b, e := spec.ParseBind(s, false)
		if e != nil {
			return
		}
		if again, e := spec.ParseBind(b.String(), false); e != nil || again != b {
			t.Errorf("%q was read as %v, that as %v, %v", s, b, again, e)
		}
	})
}
