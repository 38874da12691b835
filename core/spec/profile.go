package spec

import (
	"slices"
	"strings"
)

// A profile is a promise by name. What it stands for becomes part of the spec,
// as if it had been asked for word by word, so that a record tells what holds
// whatever later versions mean by the name. What was asked for beside it may
// only make it stricter: a promise that a flag has quietly taken back is worse
// than none.

// Setting is one thing that a profile settles.
type Setting struct {
	Field string // as errors name it: security.no-new-privileges
	Value string
	Why   string // for the user, on one line
}

// sandboxDrops are the capabilities that a machine of Debian, Arch or Fedora
// boots, is reached and installs packages without.
var sandboxDrops = []string{
	"CAP_AUDIT_CONTROL", "CAP_AUDIT_WRITE", "CAP_DAC_READ_SEARCH", "CAP_IPC_OWNER", "CAP_LEASE",
	"CAP_LINUX_IMMUTABLE", "CAP_MKNOD", "CAP_NET_BROADCAST", "CAP_NET_RAW", "CAP_SYS_NICE", "CAP_SYS_PTRACE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TTY_CONFIG",
}

// sandboxFilter refuses system calls that systemd-nspawn lets through and that
// have been ways into the kernel more often than a machine needs them.
var sandboxFilter = []string{
	"~io_uring_enter", "~io_uring_register", "~io_uring_setup", "~kcmp", "~process_vm_readv", "~process_vm_writev",
	"~userfaultfd", "~vmsplice",
}

// sandboxLimits hold where none was given: enough to build software with, and
// not all of a host.
var sandboxLimits = Limits{CPUQuota: 200, MemoryMax: 4 << 30, TasksMax: 4096}

// Settings are what a profile stands for.
func (p Profile) Settings() []Setting {
	if p != ProfileSandbox {
		return nil
	}
	l := sandboxLimits.Words() // CPUQuota, MemoryMax, TasksMax
	value := func(word string) string { _, v, _ := strings.Cut(word, "="); return v }
	return []Setting{
		{"security.private-users", "pick", "root in the machine is nobody on this host"},
		{"security.drop-capability", strings.Join(sandboxDrops, " "), "no raw sockets, no debugging of others, no devices, no audit"},
		{"security.no-new-privileges", "yes", "setuid programs give nothing: no sudo, no su"},
		{"security.system-call-filter", strings.Join(sandboxFilter, " "), "parts of the kernel that have been broken out through"},
		{"network.egress", string(EgressInternet), "neither this host nor private networks are reached; --egress none is stricter"},
		{"limits.cpu-quota", value(l[0]), "unless another is given"},
		{"limits.memory-max", value(l[1]), "unless another is given"},
		{"limits.tasks-max", value(l[2]), "unless another is given"},
	}
}

// weaker notes what would weaken the profile.
func (b *build) weaker(field, value, because string) {
	b.note(&FieldError{
		field, value, "weakens the sandbox profile: " + because,
		"leave it out; or make the machine without --profile, with what you want of it flag by flag",
	})
}

// profile makes what the profile stands for part of the spec, and refuses what
// would weaken it.
func (b *build) profile(in Input) {
	if b.spec.Security.Profile != ProfileSandbox {
		return
	}
	s, n := &b.spec.Security, &b.spec.Network
	if s.PrivateUsers != PrivateUsersPick {
		b.weaker("security.private-users", string(s.PrivateUsers), "the machine's users would be this host's")
	}
	for _, c := range s.Capabilities {
		b.weaker("security.capability", c, "it adds to what the machine may do")
	}
	for _, call := range s.SystemCallFilter {
		if !strings.HasPrefix(call, "~") {
			b.weaker("security.system-call-filter", call, "it lets a system call through; write ~ before what is to be refused")
		}
	}
	if in.Egress == "any" {
		b.weaker("network.egress", in.Egress, "this host and the networks around it would be reached")
	}

	s.DropCapabilities = firstOf(sandboxDrops, s.DropCapabilities)
	s.NoNewPrivileges = true
	s.SystemCallFilter = firstOf(sandboxFilter, s.SystemCallFilter)
	if n.Egress == EgressAny && !n.Private {
		n.Egress = EgressInternet
	}
	b.profileLimits()
}

// profileLimits is what a profile stands for in limits, which can be changed
// later and given to a clone.
func (b *build) profileLimits() {
	if b.spec.Security.Profile != ProfileSandbox {
		return
	}
	l := &b.spec.Limits
	for _, limit := range []struct {
		field           string
		have, otherwise *uint64
	}{
		{"limits.cpu-quota", &l.CPUQuota, &sandboxLimits.CPUQuota},
		{"limits.memory-max", &l.MemoryMax, &sandboxLimits.MemoryMax},
		{"limits.tasks-max", &l.TasksMax, &sandboxLimits.TasksMax},
	} {
		switch *limit.have {
		case 0:
			*limit.have = *limit.otherwise
		case Infinity:
			b.weaker(limit.field, "infinity", "one machine could take all of this host")
		}
	}
}

// SetLimits changes the limits. Where a profile settles one, unset means what
// the profile says, and what would weaken the profile is refused.
func (s *Spec) SetLimits(change func(*Limits)) error {
	b := &build{spec: *s}
	change(&b.spec.Limits)
	b.profileLimits()
	if len(b.found) > 0 {
		return b.found
	}
	s.Limits = b.spec.Limits
	return nil
}

// firstOf is a list that begins with the profile's own values, each once. The
// order does not depend on what of it was given, so that a spec that was
// written out and read again is the same.
func firstOf(own, given []string) []string {
	all := slices.Clone(own)
	for _, g := range given {
		if !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	return all
}
