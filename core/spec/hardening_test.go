package spec_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func build(t *testing.T, set func(*spec.Input)) spec.Spec {
	t.Helper()
	in := good()
	set(&in)
	s, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASandboxIsRecordedAsWhatItStandsFor(t *testing.T) {
	s := build(t, func(i *spec.Input) {
		i.Profile, i.DropCapabilities, i.SystemCallFilter, i.TasksMax = "sandbox", []string{"kill", "net_raw"}, []string{"~ptrace"}, "100"
	})
	for _, c := range []string{"CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_MKNOD", "CAP_KILL"} {
		if !slices.Contains(s.Security.DropCapabilities, c) {
			t.Errorf("%s is not dropped: %v", c, s.Security.DropCapabilities)
		}
	}
	if !s.Security.NoNewPrivileges || !slices.Contains(s.Security.SystemCallFilter, "~ptrace") || !slices.Contains(s.Security.SystemCallFilter, "~io_uring_setup") {
		t.Errorf("it is %+v", s.Security)
	}
	if s.Network.Egress != spec.EgressInternet || s.Limits.TasksMax != 100 || s.Limits.MemoryMax == 0 || s.Limits.CPUQuota == 0 {
		t.Errorf("it is %+v with %+v", s.Network, s.Limits)
	}
	again := build(t, func(i *spec.Input) {
		i.Profile, i.DropCapabilities, i.SystemCallFilter, i.TasksMax = "sandbox", s.Security.DropCapabilities, s.Security.SystemCallFilter, "100"
		i.NoNewPrivileges, i.Egress, i.MemoryMax, i.CPUQuota = true, "internet", "4G", "200%"
	})
	if d := spec.Diff(s, again); d != nil {
		t.Errorf("asked for word by word it is another: %v", d)
	}
	if s := build(t, func(i *spec.Input) { i.Profile, i.Egress = "sandbox", "none" }); s.Network.Egress != spec.EgressNone {
		t.Errorf("what is stricter does not hold: %v", s.Network.Egress)
	}
	if s := build(t, func(i *spec.Input) { i.Profile, i.PrivateNetwork = "sandbox", true }); s.Network.Egress != spec.EgressAny {
		t.Errorf("without a link there is egress %q", s.Network.Egress)
	}
	plain := build(t, func(*spec.Input) {})
	if plain.Security.NoNewPrivileges || plain.Network.Egress != spec.EgressAny || plain.Limits != (spec.Limits{}) {
		t.Errorf("without the profile it is %+v", plain)
	}
}

func TestASandboxStaysBoundedWhateverIsSetLater(t *testing.T) {
	s := build(t, func(i *spec.Input) { i.Profile, i.MemoryMax = "sandbox", "1G" })
	for _, limit := range []string{"memory-max", "tasks-max"} {
		before := s.Limits
		err := s.SetLimits(func(l *spec.Limits) { _ = l.Set(limit, "infinity") })
		var bad spec.Invalid
		if !errors.As(err, &bad) || bad[0].Field != "limits."+limit || bad[0].Hint == "" || s.Limits != before {
			t.Errorf("%s is lifted: %v, %+v", limit, err, s.Limits)
		}
	}
	err := s.SetLimits(func(l *spec.Limits) {
		for _, limit := range spec.LimitNames() {
			_ = l.Set(limit, "")
		}
	})
	if fresh := build(t, func(i *spec.Input) { i.Profile = "sandbox" }); err != nil || s.Limits != fresh.Limits {
		t.Errorf("what is unset is not what the profile says: %+v, %v", s.Limits, err)
	}
	plain := build(t, func(*spec.Input) {})
	if err := plain.SetLimits(func(l *spec.Limits) { l.MemoryMax = spec.Infinity }); err != nil || plain.Limits.MemoryMax != spec.Infinity {
		t.Errorf("without the profile: %v", err)
	}
}

func TestAProfileSaysAllThatItSettles(t *testing.T) {
	s := build(t, func(i *spec.Input) { i.Profile = "sandbox" })
	said := map[string]string{}
	for _, setting := range spec.ProfileSandbox.Settings() {
		if setting.Value == "" || setting.Why == "" {
			t.Errorf("%+v says nothing", setting)
		}
		said[setting.Field] = setting.Value
	}
	if said["security.drop-capability"] != strings.Join(s.Security.DropCapabilities, " ") || said["security.system-call-filter"] != strings.Join(s.Security.SystemCallFilter, " ") {
		t.Errorf("it says %v of %+v", said, s.Security)
	}
	if said["limits.cpu-quota"] != "200%" || said["limits.memory-max"] != "4G" || said["limits.tasks-max"] != "4096" || said["network.egress"] != "internet" {
		t.Errorf("it says %v of %+v", said, s.Limits)
	}
	if spec.ProfileNone.Settings() != nil {
		t.Error("no profile settles something")
	}
}

func TestWhatCannotBeHadTogetherIsExplained(t *testing.T) {
	sandbox := func(set func(*spec.Input)) func(*spec.Input) {
		return func(i *spec.Input) { i.Profile = "sandbox"; set(i) }
	}
	private := func(set func(*spec.Input)) func(*spec.Input) {
		return func(i *spec.Input) { i.PrivateNetwork = true; set(i) }
	}
	bind := func(values ...string) func(*spec.Input) { return func(i *spec.Input) { i.Binds = values } }
	drop := func(values ...string) func(*spec.Input) { return func(i *spec.Input) { i.DropCapabilities = values } }
	for _, c := range []struct {
		field, says string
		set         func(*spec.Input)
	}{
		{"network.publish", "--private-network", private(func(i *spec.Input) { i.Publish = []string{"80:80"} })},
		{"network.address", "--private-network", private(func(i *spec.Input) { i.Address = "10.1.2.3/24" })},
		{"network.egress", "--private-network", private(func(i *spec.Input) { i.Egress = "internet" })},
		{"network.egress", "link of its own", func(i *spec.Input) { i.Egress, i.PrivateUsers = "none", "no" }},
		{"network.egress", "link of its own", func(i *spec.Input) { i.Egress, i.PrivateUsers = "internet", "no" }},
		{"network.dns", "--private-network", private(func(i *spec.Input) { i.DNS = []string{"host"} })},
		{"network.dns", "--private-network", private(func(i *spec.Input) { i.DNS = []string{"9.9.9.9", "1.1.1.1"} })},
		{"network.host", "--private-network", private(func(i *spec.Input) { i.HostNetwork = "builtin" })},
		{"network.alias", "--private-network", private(func(i *spec.Input) { i.Alias = true })},
		{"security.drop-capability", "nothing that a machine could boot with", drop("all")},
		{"security.drop-capability", "systemd could not mount", drop("sys_admin")},
		{"security.drop-capability", "port 22", drop("net_bind_service")},
		{"security.drop-capability", "--capability too", func(i *spec.Input) { i.Capabilities, i.DropCapabilities = []string{"kill"}, []string{"kill"} }},
		{"storage.ephemeral", "read-only", func(i *spec.Input) { i.ReadOnly, i.Ephemeral = true, true }},
		{"storage.bind", "/etc", bind("/srv:/etc")},
		{"storage.bind", "/root", bind("/srv:/root")},
		{"storage.bind", "systemd mounts", bind("/srv:/proc/x")},
		{"storage.bind", "systemd mounts", bind("/srv:/dev")},
		{"storage.bind", "inside of /w", bind("/a:/w", "/b:/w/x")},
		{"security.private-users", "weakens", sandbox(func(i *spec.Input) { i.PrivateUsers = "no" })},
		{"security.private-users", "weakens", sandbox(func(i *spec.Input) { i.PrivateUsers = "identity" })},
		{"security.capability", "weakens", sandbox(func(i *spec.Input) { i.Capabilities = []string{"sys_time"} })},
		{"security.system-call-filter", "weakens", sandbox(func(i *spec.Input) { i.SystemCallFilter = []string{"bpf"} })},
		{"network.egress", "weakens", sandbox(func(i *spec.Input) { i.Egress = "any" })},
		{"limits.memory-max", "weakens", sandbox(func(i *spec.Input) { i.MemoryMax = "infinity" })},
		{"limits.tasks-max", "weakens", sandbox(func(i *spec.Input) { i.TasksMax = "infinity" })},
	} {
		in := good()
		c.set(&in)
		_, err := spec.Build(in)
		var bad spec.Invalid
		if !errors.As(err, &bad) || len(bad) != 1 || bad[0].Field != c.field || bad[0].Hint == "" || !strings.Contains(bad[0].Error(), c.says) {
			t.Errorf("want one error about %s that says %q, got %v", c.field, c.says, err)
		}
	}
	// Without a link, what the link needs may go, and what asks for nothing may stay.
	build(t, private(drop("net_admin", "net_bind_service", "sys_chroot")))
	build(t, private(func(i *spec.Input) { i.Egress, i.HostNetwork, i.DNS = "any", "auto", []string{"auto"} }))
	build(t, bind("/srv:/usr/local/src/x", "/a:/workspace", "/b:/workspaces", "/c:/root/x"))
}

func TestWhatOneShouldKnowIsSaidOnce(t *testing.T) {
	for _, c := range []struct {
		says string
		set  func(*spec.Input)
	}{
		{"there is no SSH", func(i *spec.Input) { i.PrivateNetwork = true }},
		{"sudo", func(i *spec.Input) { i.NoNewPrivileges = true }},
		{"root of this host", func(i *spec.Input) { i.PrivateUsers = "no" }},
		{"numbers of this host's", func(i *spec.Input) { i.PrivateUsers = "identity" }},
		{"every capability", func(i *spec.Input) { i.Capabilities = []string{"all"} }},
		{"/var is empty", func(i *spec.Input) { i.ReadOnly = true }},
		{"gone when it stops", func(i *spec.Input) { i.Ephemeral = true }},
	} {
		got := spec.Cautions(build(t, c.set))
		if len(got) != 1 || !strings.Contains(got[0], c.says) {
			t.Errorf("want a caution that says %q, got %q", c.says, got)
		}
	}
	for _, profile := range []string{"", "sandbox"} {
		if got := spec.Cautions(build(t, func(i *spec.Input) { i.Profile = profile })); got != nil {
			t.Errorf("with profile %q it says %q", profile, got)
		}
	}
}
