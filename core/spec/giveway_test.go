package spec_test

import (
	"slices"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// defaults are what a host may say of all of its machines.
func defaults(i *spec.Input) {
	i.Egress, i.HostNetwork, i.DNS, i.Alias = "internet", "builtin", []string{"host"}, true
}

func TestADefaultGivesWayWhereItCannotApply(t *testing.T) {
	for _, c := range []struct {
		what   string
		set    func(*spec.Input)
		said   []string
		egress string // of what is wanted then
		alias  bool
		fails  string // the field that is refused
	}{
		{"without a link", func(i *spec.Input) { defaults(i); i.PrivateNetwork = true }, nil, "", false, ""},
		{"with a link", defaults, nil, "internet", true, ""},
		{"egress said", func(i *spec.Input) { defaults(i); i.PrivateNetwork = true }, []string{"egress"}, "internet", false, "network.egress"},
		{"dns said", func(i *spec.Input) { defaults(i); i.PrivateNetwork = true }, []string{"dns"}, "", false, "network.dns"},
		{"host-network said", func(i *spec.Input) { defaults(i); i.PrivateNetwork = true }, []string{"host-network"}, "", false, "network.host"},
		{"alias said", func(i *spec.Input) { defaults(i); i.PrivateNetwork = true }, []string{"alias"}, "", true, "network.alias"},
		{"a name with a dot", func(i *spec.Input) { defaults(i); i.Name = "box.example" }, nil, "internet", false, ""},
		{"a sandbox", func(i *spec.Input) { i.Profile, i.Egress = "sandbox", "any" }, nil, "", false, ""},
		{"a sandbox, with any said", func(i *spec.Input) { i.Profile, i.Egress = "sandbox", "any" }, []string{"egress"}, "any", false, "network.egress"},
		{"a sandbox without limits", func(i *spec.Input) { i.Profile, i.MemoryMax, i.TasksMax = "sandbox", "infinity", "infinity" }, nil, "", false, ""},
		{"a sandbox without a limit, said", func(i *spec.Input) { i.Profile, i.MemoryMax = "sandbox", "infinity" }, []string{"memory-max"}, "", false, "limits.memory-max"},
		// What bounds a machine never does.
		{"the host's users", func(i *spec.Input) { i.Egress, i.PrivateUsers = "internet", "no" }, nil, "internet", false, "network.egress"},
		{"a sandbox by default", func(i *spec.Input) { i.Profile, i.PrivateUsers = "sandbox", "no" }, []string{"private-users"}, "", false, "security.private-users"},
	} {
		in := good()
		c.set(&in)
		in.GiveWay(func(flag string) bool { return slices.Contains(c.said, flag) })
		if in.Egress != c.egress || in.Alias != c.alias {
			t.Errorf("%s: egress %q and alias %v are left", c.what, in.Egress, in.Alias)
		}
		_, err := spec.Build(in)
		bad, _ := err.(spec.Invalid) //nolint:errorlint // it is nothing else
		if c.fails == "" && err != nil || c.fails != "" && (len(bad) != 1 || bad[0].Field != c.fails) {
			t.Errorf("%s: want %q to be refused, got %v", c.what, c.fails, err)
		}
	}
}
