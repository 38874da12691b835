package spec

import (
	"slices"
	"strings"
)

// Security is what keeps what runs in the machine away from the host, beyond
// what every machine has.
type Security struct {
	Profile          Profile      `json:"profile,omitempty"`
	Capabilities     []string     `json:"capabilities,omitempty"`     // added, such as CAP_SYS_ADMIN
	DropCapabilities []string     `json:"dropCapabilities,omitempty"` // or "all"
	NoNewPrivileges  bool         `json:"noNewPrivileges,omitempty"`
	PrivateUsers     PrivateUsers `json:"privateUsers,omitempty"`
	// SystemCallFilter are names of system calls or, with "@", of groups of
	// them, that are let through; with "~" before the name, that are not.
	SystemCallFilter []string `json:"systemCallFilter,omitempty"`
}

// Profile is a name for a set of settings.
type Profile string

// The profiles.
const (
	ProfileNone    Profile = ""
	ProfileSandbox Profile = "sandbox" // for what is not trusted
)

// PrivateUsers says how the machine's users relate to the host's.
type PrivateUsers string

// The ways.
const (
	PrivateUsersPick     PrivateUsers = ""         // a range of the host's that nobody else has
	PrivateUsersIdentity PrivateUsers = "identity" // the same numbers, in a namespace of its own
	PrivateUsersNone     PrivateUsers = "no"       // the host's users: root inside is root outside
)

// ParseCapability reads the name of a capability in upper or lower case, with
// or without CAP_; where all is allowed, also "all".
func ParseCapability(field, s string) (string, *FieldError) {
	c := strings.ToUpper(s)
	if c == "ALL" {
		return "all", nil
	}
	if !strings.HasPrefix(c, "CAP_") {
		c = "CAP_" + c
	}
	if !slices.Contains(capabilities, c) {
		return "", &FieldError{field, s, "is not a capability", likely(c, capabilities, "use a name such as CAP_SYS_PTRACE; man 7 capabilities lists them")}
	}
	return c, nil
}

func (b *build) security(in Input) {
	s := &b.spec.Security
	switch Profile(in.Profile) {
	case ProfileNone, ProfileSandbox:
		s.Profile = Profile(in.Profile)
	default:
		b.note(&FieldError{"security.profile", in.Profile, "is not a profile", "use sandbox, or leave it out"})
	}
	for _, l := range []struct {
		field  string
		values []string
		to     *[]string
	}{
		{"security.capability", in.Capabilities, &s.Capabilities},
		{"security.drop-capability", in.DropCapabilities, &s.DropCapabilities},
	} {
		for _, v := range l.values {
			c, e := ParseCapability(l.field, v)
			b.note(e)
			if e == nil && !slices.Contains(*l.to, c) {
				*l.to = append(*l.to, c)
			}
		}
	}
	s.NoNewPrivileges = in.NoNewPrivileges
	switch in.PrivateUsers {
	case "", "pick":
	case string(PrivateUsersIdentity), string(PrivateUsersNone):
		s.PrivateUsers = PrivateUsers(in.PrivateUsers)
	default:
		b.note(&FieldError{"security.private-users", in.PrivateUsers, "is not a way to map users", "use pick, identity or no"})
	}
	for _, v := range in.SystemCallFilter {
		b.note(checkSystemCall("security.system-call-filter", v))
	}
	s.SystemCallFilter = in.SystemCallFilter
}
