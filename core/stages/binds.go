package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// mapsRootSince is the systemd that shows the owner of a bind's source as the
// machine's root.
const mapsRootSince = 252

// binding is one bind as it is carried out, or why it is not.
type binding struct {
	unitfile.Bind
	refused  *spec.FieldError
	cautions []string
}

// binder decides how the binds of one machine are carried out. What it looks at
// may be changed by others the moment after: what systemd-nspawn does on the
// strength of it is bounded by whose the source and the way to it are.
type binder struct {
	machine store.Machine
	all     []store.Machine // every one on record, the machine itself perhaps
	systemd int             // the host's version; 0 means unknown, taken as current
	users   accounts
	maps    func(path string) error // why owners cannot be mapped there
}

// bindings decides on every bind of the machine, in their order.
func (b binder) bindings() []binding {
	out := make([]binding, 0, len(b.machine.Spec.Storage.Binds))
	for _, want := range b.machine.Spec.Storage.Binds {
		out = append(out, b.decide(want))
	}
	return out
}

func (b binder) decide(want spec.Bind) binding {
	out := binding{Bind: unitfile.Bind{Source: want.Source, Target: want.Target, ReadOnly: want.ReadOnly}}
	refuse := func(problem, hint string) binding {
		out.refused = &spec.FieldError{Field: "storage.bind", Value: want.String(), Problem: problem, Hint: hint}
		return out
	}
	source, problem, hint := lookAt(want.Source)
	if problem != "" {
		return refuse(problem, hint)
	}
	if problem, hint := b.sensitive(want); problem != "" {
		return refuse(problem, hint)
	}
	if problem, hint := b.othersTrees(want); problem != "" {
		return refuse(problem, hint)
	}
	if source.socket {
		if slices.Contains(controls, filepath.Base(want.Source)) {
			return refuse("is the socket of a service through which the machine would control this host", "leave it out")
		}
		out.cautions = append(out.cautions, want.Source+" is a socket: whoever serves it answers the machine too")
	}
	if !want.ReadOnly {
		if problem, hint := b.writable(source); problem != "" {
			return refuse(problem, hint)
		}
	}
	if problem, hint := b.mapOwners(&out, source); problem != "" {
		return refuse(problem, hint)
	}
	out.cautions = append(out.cautions, b.cautions(out.Bind, source)...)
	return out
}

// source is what was found out about a bind's source.
type source struct {
	path   string
	uid    uint32
	gid    uint32
	socket bool
	dirs   []directory // those that lead to it, from / on
}

// directory is one on the way to a source.
type directory struct {
	path     string
	uid, gid uint32
	mode     uint32
	acl      bool // it has an access control list beside its mode
}

// lookAt finds out about a source, and why it is none.
func lookAt(path string) (s source, problem, hint string) {
	s.path = path
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for at := "/"; ; at = filepath.Join(at, parts[0]) {
		var st unix.Stat_t
		err := unix.Lstat(at, &st)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
			return s, "is not there: there is no " + at, "make it first, as the user to whom what the machine writes is to belong: mkdir -p " + path
		case err != nil:
			return s, "cannot be looked at: " + err.Error(), "name another directory"
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			hint := "name what it leads to"
			if real, err := filepath.EvalSymlinks(path); err == nil {
				hint = "name it as " + real
			}
			return s, "leads through a link, " + at + ", which others could turn elsewhere", hint
		}
		if at == path {
			s.uid, s.gid = st.Uid, st.Gid
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFDIR, unix.S_IFREG:
			case unix.S_IFSOCK:
				s.socket = true
			default:
				return s, "is neither a directory nor a file", "name a directory"
			}
			return s, "", ""
		}
		s.dirs = append(s.dirs, directory{at, st.Uid, st.Gid, st.Mode, hasACL(at)})
		if at != "/" {
			parts = parts[1:]
		}
	}
}

func hasACL(path string) bool {
	size, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return err == nil && size > 0
}

// controls are names of sockets of services that do as root what they are asked.
var controls = []string{
	"docker.sock", "containerd.sock", "podman.sock", "crio.sock", "system_bus_socket", "libvirt-sock", "snapd.socket", "incus.socket", "unix.socket",
}

// places are those of the host whose content is the host itself.
var places = []struct {
	path string
	rule placeRule
}{
	{"/boot", noneOf},
	{"/dev", noneOf},
	{"/proc", noneOf},
	{"/run", noneOf},
	{"/sys", noneOf},
	{"/etc/nspawn-build", noneOf},
	{"/etc/systemd/nspawn", noneOf},
	{"/var/cache/nspawn-build", noneOf},
	{"/var/lib/containerd", noneOf},
	{"/var/lib/containers", noneOf},
	{"/var/lib/docker", noneOf},
	{"/var/lib/nspawn-build", noneOf},
	{"/var/lib/machines", onlyBelow},
	{"/root", onlyBelow},
	{"/home", onlyBelow},
	{"/etc", readOnlyBelow},
	{"/usr", readOnly},
	{"/bin", readOnly},
	{"/lib", readOnly},
	{"/lib64", readOnly},
	{"/sbin", readOnly},
}

// placeRule is what of a place may be bound.
type placeRule int

const (
	noneOf        placeRule = iota
	onlyBelow               // what is in it
	readOnlyBelow           // what is in it, for reading
	readOnly                // all of it, for reading
)

// sensitive is about what of this host no machine is shown.
func (binder) sensitive(want spec.Bind) (problem, hint string) {
	const another = "bind the one directory that the machine is to work in, such as /home/you/project"
	if !want.ReadOnly && slices.Contains(strings.Split(want.Source, "/"), ".ssh") {
		return "is where it is written who logs in to this host: the machine could let itself in", another
	}
	for _, p := range places {
		inside, holds := spec.Within(want.Source, p.path), spec.Within(p.path, want.Source)
		switch {
		case !inside && holds, inside && p.rule == noneOf, holds && p.rule != readOnly:
			return "is or holds " + p.path + ", with which the machine could take over this host", another
		case inside && (p.rule == readOnly || p.rule == readOnlyBelow) && !want.ReadOnly:
			return "lets the machine write to this host's " + p.path, "bind it with --bind-ro"
		}
	}
	return "", ""
}

// othersTrees is about trees of machines, and about ways that a machine could
// lead a bind elsewhere: in a directory that it may write to it can put a link
// where the source of another bind is.
func (b binder) othersTrees(want spec.Bind) (problem, hint string) {
	apart := "bind a directory that has nothing to do with it"
	overlap := func(dir string) bool { return spec.Within(want.Source, dir) || spec.Within(dir, want.Source) }
	if overlap(b.machine.Tree.Path) || spec.Within(b.machine.Spec.Directory, want.Source) {
		return "is or holds the tree of the machine itself", apart
	}
	for _, m := range b.all {
		if m.Name == b.machine.Name {
			continue
		}
		if overlap(m.Tree.Path) {
			return "is, is in or holds the tree of machine " + m.Name, apart
		}
		for _, other := range m.Spec.Storage.Binds {
			if problem := leads(want, other); problem != "" {
				return problem + ", of machine " + m.Name, "bind the same directory, or one that is apart from it"
			}
		}
	}
	for _, other := range b.machine.Spec.Storage.Binds {
		if problem := leads(want, other); problem != "" {
			return problem, "bind the outer one alone"
		}
	}
	return "", ""
}

// leads says which of two binds could lead the other elsewhere.
func leads(a, b spec.Bind) string {
	switch {
	case a.Source == b.Source:
		return ""
	case spec.Within(a.Source, b.Source) && !b.ReadOnly:
		return "is in " + b.Source + ", where a machine that may write could lead it elsewhere"
	case spec.Within(b.Source, a.Source) && !a.ReadOnly:
		return "could be used to lead another bind, " + b.Source + ", elsewhere"
	}
	return ""
}

// writable says why a machine must not write to a source: it could make it
// setuid, and whoever can come near it on the host would be its owner.
//
// The mode of the source itself does not count, for the machine, as its owner,
// can change that.
func (b binder) writable(s source) (problem, hint string) {
	owner := s.uid
	if b.machine.Spec.Security.PrivateUsers == spec.PrivateUsersNone {
		owner = 0 // the machine's root is the host's, whosever the directory is
	}
	if owner == 0 && b.machine.Spec.Security.Profile == spec.ProfileSandbox {
		return "belongs to root of this host, as which a machine of the sandbox profile does not write",
			"have it belong to a user who is not root: chown USER " + s.path
	}
	closed := false
	for _, d := range s.dirs {
		switch {
		case d.uid != 0 && d.uid != owner:
			return fmt.Sprintf("leads through %s of %s, who could put something else there", d.path, b.users.name(d.uid)), "bind a directory on a way that belongs to its owner and to root"
		case d.mode&0o002 != 0 && d.mode&unix.S_ISVTX == 0, d.mode&0o020 != 0 && d.mode&unix.S_ISVTX == 0 && !b.users.alone(d, owner):
			return "leads through " + d.path + ", to which others may write", "chmod go-w " + d.path
		}
		closed = closed || d.mode&0o001 == 0 && (d.mode&0o010 == 0 || b.users.alone(d, owner))
	}
	if closed {
		return "", ""
	}
	if ignored, err := host.IgnoresSetuid(s.path); err != nil || ignored {
		if err != nil {
			return err.Error(), "name another directory"
		}
		return "", ""
	}
	who := b.users.name(owner)
	return "would let the machine plant setuid programs on this host: every user can come near " + s.path + " and would run them as " + who,
		"keep it below a directory that only " + who + " can enter (chmod 700 " + filepath.Dir(s.path) + "), or on a file system that is mounted nosuid, or use --bind-ro"
}

// mapOwners has the source's owner be root in the machine, where that is needed
// and can be.
func (b binder) mapOwners(out *binding, s source) (problem, hint string) {
	if b.machine.Spec.Security.PrivateUsers == spec.PrivateUsersNone {
		return "", "" // the numbers are the host's
	}
	if out.ReadOnly && s.uid == 0 {
		return "", "" // what root alone may read on the host stays so
	}
	var why error
	if b.systemd > 0 && b.systemd < mapsRootSince {
		why = fmt.Errorf("systemd %d of this host maps no owners; %d and later do", b.systemd, mapsRootSince)
	} else {
		why = b.maps(s.path)
	}
	switch {
	case why == nil && !out.ReadOnly && s.gid != s.uid:
		// systemd-nspawn maps the group of the owner's number, and the kernel lets
		// nobody write to what belongs to a group that is not mapped.
		return fmt.Sprintf("could not be written to, for it belongs to group %d: mapped to the machine's root are user and group %d", s.gid, s.uid),
			fmt.Sprintf("give it, and what is in it, the group of its owner's number: chgrp -R %d %s", s.uid, s.path)
	case why == nil:
		out.IDMap = unitfile.RootIDMap
	case !out.ReadOnly:
		return "could not be written to, for its owner cannot be mapped to a user of the machine: " + why.Error(),
			"keep it on ext4, xfs or btrfs, or use --bind-ro"
	default:
		out.cautions = append(out.cautions, "in the machine "+s.path+" belongs to nobody, and only what everybody may read is read: "+why.Error())
	}
	return "", ""
}

// cautions are what one should know about a bind that is carried out.
func (b binder) cautions(bind unitfile.Bind, s source) (out []string) {
	if user := b.users.homeOf(s.path); user != "" && !bind.ReadOnly {
		out = append(out, s.path+" is the home of "+user+": the machine could put there what "+user+"'s next login runs")
	}
	below, err := host.MountsBelow(s.path)
	if err != nil {
		return append(out, err.Error())
	}
	if len(below) > 0 {
		out = append(out, "not shown in the machine, being mounts of their own: "+strings.Join(below, ", "))
	}
	return out
}

// refusals are those of a list of bindings; nil when there are none.
func refusals(all []binding) error {
	var bad spec.Invalid
	for _, b := range all {
		if b.refused != nil {
			bad = append(bad, b.refused)
		}
	}
	if bad == nil {
		return nil
	}
	return bad
}

// readAccounts reads the host's users and groups.
func readAccounts() (accounts, error) {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return accounts{}, err
	}
	group, err := os.ReadFile("/etc/group")
	return parseAccounts(string(passwd), string(group)), err
}
