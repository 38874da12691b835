package spec

import (
	"path"
	"slices"
	"strings"
)

// contradictions notes what cannot be had together, and what could not boot or
// be reached.
func (b *build) contradictions(in Input) {
	b.withoutLink(in)
	b.boundedRoot()
	b.withoutCapabilities()
	b.readOnlyRoot()
	b.targets()
}

// withoutLink is about what needs the link that a private network is without.
// What asks for nothing, such as any egress, does not.
func (b *build) withoutLink(in Input) {
	if !b.spec.Network.Private {
		return
	}
	const hint = "leave it out, or leave out --private-network; --egress none is a machine that reaches nothing and is reached over SSH"
	for _, f := range []struct{ field, value, nothing string }{
		{"network.publish", strings.Join(in.Publish, " "), ""},
		{"network.address", in.Address, ""},
		{"network.gateway", in.Gateway, ""},
		{"network.dns", strings.Join(in.DNS, " "), string(DNSAuto)},
		{"network.egress", in.Egress, "any"},
		{"network.host", in.HostNetwork, "auto"},
	} {
		if f.value != "" && f.value != f.nothing {
			b.note(&FieldError{f.field, f.value, "needs the link that --private-network leaves out", hint})
		}
	}
	if in.Alias {
		b.note(&FieldError{"network.alias", "", "a name needs the link that --private-network leaves out", hint})
	}
}

// boundedRoot is about a machine whose root is this host's: it administers the
// network of this host as well as its own, and so can give itself another link
// than the one that it is bounded on.
func (b *build) boundedRoot() {
	s := b.spec.Security
	if b.spec.Network.Egress == EgressAny || s.PrivateUsers != PrivateUsersNone || s.Profile != ProfileNone { // which does not have it
		return
	}
	b.note(&FieldError{
		"network.egress", string(b.spec.Network.Egress),
		"cannot be held to by a machine whose root is root of this host (--private-users no): it could make itself a link of its own to this host",
		"leave out --private-users no, or use --private-network, which leaves no link at all, or --egress any, which bounds nothing",
	})
}

// needed are the capabilities without which a machine does not come up with all
// of its units, or cannot be logged in to: found by leaving out one at a time.
var needed = []struct {
	name, lack string
	link       bool // needed for the link only
}{
	{name: "CAP_CHOWN", lack: "systemd could not set up its services"},
	{name: "CAP_FOWNER", lack: "systemd could not set up its services"},
	{name: "CAP_SETGID", lack: "no service could change its user"},
	{name: "CAP_SETPCAP", lack: "systemd could not limit its services"},
	{name: "CAP_SETUID", lack: "no service could change its user"},
	{name: "CAP_SYS_ADMIN", lack: "systemd could not mount anything for its services"},
	{name: "CAP_NET_ADMIN", lack: "networkd could not set the address", link: true},
	{name: "CAP_NET_BIND_SERVICE", lack: "sshd could not listen on port 22", link: true},
	{name: "CAP_SYS_CHROOT", lack: "sshd could not shut away those who are not logged in yet", link: true},
}

func (b *build) withoutCapabilities() {
	s := b.spec.Security
	if slices.Contains(s.DropCapabilities, "all") {
		b.note(&FieldError{
			"security.drop-capability", "all", "leaves nothing that a machine could boot with",
			"name what is to go: a machine boots without " + strings.Join(sandboxDrops, ", ") + ", which --profile sandbox takes away",
		})
		return
	}
	for _, c := range s.DropCapabilities {
		if slices.Contains(s.Capabilities, c) {
			b.note(&FieldError{"security.drop-capability", c, "is given to the machine by --capability too", "leave out one of them"})
		}
		for _, n := range needed {
			if n.name == c && (!n.link || !b.spec.Network.Private) {
				b.note(&FieldError{"security.drop-capability", c, "is what a machine needs: " + n.lack, "leave it out"})
			}
		}
	}
}

func (b *build) readOnlyRoot() {
	if b.spec.Storage.ReadOnly && b.spec.Storage.Ephemeral {
		b.note(&FieldError{
			"storage.ephemeral", "", "a read-only machine has nothing to throw away but /var, which is thrown away in any case",
			"leave out --ephemeral, or --read-only",
		})
	}
}

// hidden are the directories of a machine that a bind may not cover: it would
// not boot, be logged in to, or be what it was made as.
var hidden = []string{
	"/bin", "/boot", "/etc", "/etc/pam.d", "/etc/ssh", "/etc/systemd", "/lib", "/lib64", "/root", "/root/.ssh", "/sbin",
	"/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/var", "/var/lib", "/var/log",
	"/etc/group", "/etc/gshadow", "/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/nsswitch.conf",
	"/etc/passwd", "/etc/resolv.conf", "/etc/shadow",
}

// kernels are where systemd and the kernel show themselves: nothing is bound
// below them either.
var kernels = []string{"/dev", "/proc", "/run", "/sys"}

func (b *build) targets() {
	binds := b.spec.Storage.Binds
	for i, bind := range binds {
		bad := func(problem, hint string) {
			b.note(&FieldError{"storage.bind", bind.String(), problem, hint})
		}
		const elsewhere = "choose a target such as /workspace, /srv/… or /mnt/…"
		switch {
		case bind.Target == "": // it was noted already
		case slices.Contains(hidden, bind.Target):
			bad("would hide the machine's own "+bind.Target, elsewhere)
		case slices.ContainsFunc(kernels, func(k string) bool { return Within(bind.Target, k) }):
			bad("has a target where the machine's own systemd mounts", elsewhere)
		}
		for j, other := range binds {
			if i != j && bind.Target != other.Target && other.Target != "" && Within(bind.Target, other.Target) {
				bad("has a target inside of "+other.Target+", which is bound too", "bind them beside each other")
			}
		}
	}
}

// Within reports whether an absolute, clean path is dir or below it.
func Within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, path.Clean(dir)+"/")
}

// Cautions are what one should know about a machine that was asked for, each in
// one line. None of it keeps it from being made.
func Cautions(s Spec) []string {
	var out []string
	if s.Network.Private {
		out = append(out, "without a link there is no SSH: that systemd is up is all that is proven")
	}
	if s.Security.NoNewPrivileges && s.Security.Profile == ProfileNone {
		out = append(out, "sudo, su and all that is setuid gives no privileges in this machine")
	}
	switch s.Security.PrivateUsers {
	case PrivateUsersNone:
		out = append(out, "root in this machine is root of this host: run nothing in it that is not trusted")
	case PrivateUsersIdentity:
		out = append(out, "users of this machine have the numbers of this host's: what they own in a bind is the host's users'")
	}
	if slices.Contains(s.Security.Capabilities, "all") {
		out = append(out, "with every capability the machine may do to the kernel whatever its users may")
	}
	if s.Storage.ReadOnly {
		out = append(out, "the machine's root cannot be written to, and /var is empty at every start: packages cannot be installed in it")
	}
	if s.Storage.Ephemeral {
		out = append(out, "what is written in this machine is gone when it stops, binds excepted")
	}
	return out
}
