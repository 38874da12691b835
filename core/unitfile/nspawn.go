package unitfile

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Nspawn holds the settings of a machine, as /etc/systemd/nspawn/MACHINE.nspawn.
// There systemd-nspawn trusts it, and given --settings=override it goes before
// the command line, so that a machine runs the same under every driver.
type Nspawn struct {
	Machine          string
	SystemdVersion   int // the host's; 0 means unknown, taken as current
	Binds            []Bind
	ReadOnly         bool     // the root; /var is empty at every start
	Ephemeral        bool     // every start is from a snapshot that is thrown away
	PrivateNetwork   bool     // no link at all, and so no SSH
	Capabilities     []string // names such as CAP_SYS_PTRACE, or "all"
	DropCapabilities []string
	NoNewPrivileges  bool
	PrivateUsers     spec.PrivateUsers
	SystemCallFilter []string // names of calls or, with "@", of groups; with "~" before it, refused
	AddressFamilies  []string // the only kinds of sockets, such as AF_INET; all when empty
}

// Bind shows a path of the host in the machine.
//
// What is mounted below Source is not shown: of whom that is, and whether it
// can be mapped, was not looked at.
type Bind struct {
	Source   string // absolute, on the host
	Target   string // absolute, in the machine; empty means the same
	ReadOnly bool
	IDMap    IDMap
}

// IDMap says whom the files of a bind belong to in the machine, whose users
// are not the host's. All but NoIDMap need a source file system that can be
// mounted with mapped owners.
type IDMap string

// The ways to map.
const (
	NoIDMap    IDMap = ""          // everything belongs to nobody
	SameIDMap  IDMap = "idmap"     // user N of the host is user N of the machine
	RootIDMap  IDMap = "rootidmap" // the owner of Source is root in the machine
	OwnerIDMap IDMap = "owneridmap"
)

var (
	capabilityForm = regexp.MustCompile(`^(CAP_[A-Z0-9_]+|all)$`)
	familyForm     = regexp.MustCompile(`^AF_[A-Z0-9]+$`)
	systemCallForm = regexp.MustCompile(`^~?@?[a-z_][a-z0-9_-]*$`)
)

// emptyVar is what /var is on a read-only root: systemd-tmpfiles fills it with
// what services look for. systemd-nspawn itself does the same for /tmp and /run.
const emptyVar = "/var:mode=0755,size=25%,nosuid,nodev"

// Render returns the file.
func (n Nspawn) Render() ([]byte, error) {
	var f file
	f.in("Exec")
	f.set("Boot", "yes")
	// A private range of users unless it was asked for otherwise: a kernel that
	// has no user namespaces is an error, where -U would run the machine's root
	// as ours.
	users := cmp.Or(n.PrivateUsers, "pick")
	if !slices.Contains([]spec.PrivateUsers{"pick", spec.PrivateUsersIdentity, spec.PrivateUsersNone}, users) {
		return nil, &ValueError{"PrivateUsers", string(users), "is not a way to map users"}
	}
	f.set("PrivateUsers", string(users))
	// The tree's own files stay: what is in them was decided when it was made.
	f.set("ResolvConf", "off")
	f.set("Timezone", "off")
	// try-guest leaves a link in /var/log/journal that nothing removes with
	// the machine, and that leads the host's readers into its tree.
	f.set("LinkJournal", "no")
	if n.Ephemeral {
		f.set("Ephemeral", "yes")
	}
	if err := n.privileges(&f); err != nil {
		return nil, err
	}
	f.in("Files")
	if users != spec.PrivateUsersNone {
		ownership(&f, n.SystemdVersion)
	}
	if n.ReadOnly {
		f.set("ReadOnly", "yes")
		f.set("TemporaryFileSystem", emptyVar)
	}
	for _, b := range n.Binds {
		if err := b.set(&f); err != nil {
			return nil, err
		}
	}
	f.in("Network")
	if n.PrivateNetwork {
		f.set("Private", "yes")
		f.set("VirtualEthernet", "no")
	} else {
		f.set("VirtualEthernet", "yes")
	}
	return f.render(n.Machine)
}

// privileges says what the machine's processes may ask of the kernel.
func (n Nspawn) privileges(f *file) error {
	for _, l := range []struct {
		name, what string
		form       *regexp.Regexp
		values     []string
	}{
		{"Capability", "is not a capability such as CAP_SYS_PTRACE", capabilityForm, n.Capabilities},
		{"DropCapability", "is not a capability such as CAP_SYS_PTRACE", capabilityForm, n.DropCapabilities},
		{"SystemCallFilter", "is not a system call or a group of them", systemCallForm, n.SystemCallFilter},
	} {
		for _, v := range l.values {
			if !l.form.MatchString(v) {
				return &ValueError{l.name, v, l.what}
			}
			f.set(l.name, v)
		}
	}
	if n.NoNewPrivileges {
		f.set("NoNewPrivileges", "yes")
	}
	return n.families(f)
}

// families bounds the kinds of sockets where systemd-nspawn can. Where it can,
// all of them is said too: later versions are to leave out netlink, without
// which a machine's networkd does nothing.
func (n Nspawn) families(f *file) error {
	const boundedSince = 261
	for _, family := range n.AddressFamilies {
		if !familyForm.MatchString(family) {
			return &ValueError{"RestrictAddressFamilies", family, "is not a kind of sockets such as AF_INET"}
		}
	}
	if n.SystemdVersion >= boundedSince {
		f.set("RestrictAddressFamilies", strings.Join(n.AddressFamilies, " "))
	}
	return nil
}

// ownership has the tree's files mapped to the machine's range of users where
// the file system can do that, else given to them.
func ownership(f *file, systemd int) {
	const mapsSince = 249
	if systemd > 0 && systemd < mapsSince {
		f.set("PrivateUsersChown", "yes")
		return
	}
	f.set("PrivateUsersOwnership", "auto")
}

func (b Bind) set(f *file) error {
	name := "Bind"
	if b.ReadOnly {
		name = "BindReadOnly"
	}
	target := b.Target
	if target == "" {
		target = b.Source
	}
	for _, p := range []string{b.Source, target} {
		if !path.IsAbs(p) || path.Clean(p) != p {
			return &ValueError{name, p, "is not an absolute path without . and .."}
		}
		if err := checkValue(name, p); err != nil {
			return err
		}
	}
	value := escapePath.Replace(b.Source) + ":" + escapePath.Replace(target) + ":norbind"
	switch b.IDMap {
	case NoIDMap:
	case SameIDMap, RootIDMap, OwnerIDMap:
		value += "," + string(b.IDMap)
	default:
		return &ValueError{name, string(b.IDMap), "is not a way to map owners"}
	}
	f.set(name, value)
	return nil
}

// escapePath keeps a colon in a path from ending it.
var escapePath = strings.NewReplacer(`\`, `\\`, `:`, `\:`)
