package stages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

var people = parseAccounts(
	"root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\ncarol:x:1002:100::/home/carol:/bin/sh\nbroken\n",
	"root:x:0:\nalice:x:1000:\nbob:x:1001:alice\nusers:x:100:\nteam:x:50:alice,bob\nwheel:x:10:root\nghost:x:60:nobody-knows\n",
)

func TestWhoIsAloneInAGroupIsKnown(t *testing.T) {
	for _, c := range []struct {
		gid, owner uint32
		acl, want  bool
	}{
		{1000, 1000, false, true},
		{1000, 1000, true, false}, // a list may let in anybody
		{1000, 1001, false, false},
		{1001, 1001, false, false}, // alice is a member
		{50, 1000, false, false},
		{10, 1000, false, true},
		{100, 1000, false, false}, // carol's own
		{60, 1000, false, false},  // whoever that is
		{777, 1000, false, false}, // perhaps known elsewhere
		{0, 1000, false, true},
	} {
		if got := people.alone(directory{gid: c.gid, acl: c.acl}, c.owner); got != c.want {
			t.Errorf("owner %d alone in group %d (list %t): %t", c.owner, c.gid, c.acl, got)
		}
	}
	if people.name(1000) != "alice" || people.name(4711) != "user 4711" || people.homeOf("/home/bob") != "bob" || people.homeOf("/home") != "" {
		t.Error("users are mixed up")
	}
}

// way is a source below directories of these modes and owners.
func way(uid, gid uint32, dirs ...directory) source {
	dirs = append([]directory{{path: "/", mode: 0o40755}}, dirs...)
	return source{uid: uid, gid: gid, dirs: dirs}
}

func TestWhoComesNearWhatAMachineWritesIsKnown(t *testing.T) {
	home := func(mode uint32) directory { return directory{path: "/home/alice", uid: 1000, gid: 1000, mode: mode} }
	for _, c := range []struct {
		name string
		of   source
		says string
	}{
		{"a home that is closed", way(1000, 1000, home(0o700)), ""},
		{"a home that is closed but for its own group", way(1000, 1000, home(0o750)), ""},
		{"a home that is open", way(1000, 1000, home(0o755)), "plant setuid programs"},
		{"a home that is open to a list", way(1000, 1000, directory{path: "/home/alice", uid: 1000, gid: 1000, mode: 0o750, acl: true}), "plant setuid programs"},
		{"a team's directory", way(1000, 1000, directory{path: "/t", gid: 50, mode: 0o750}), "plant setuid programs"},
		{"somebody else's directory", way(1000, 1000, directory{path: "/home/bob", uid: 1001, gid: 1001, mode: 0o700}), "of bob, who could put something else there"},
		{"a directory that others write to", way(1000, 1000, home(0o707)), "others may write"},
		{"a directory that a team writes to", way(1000, 1000, directory{path: "/t", gid: 50, mode: 0o770}), "others may write"},
		{"below /tmp", way(1000, 1000, directory{path: "/tmp", mode: 0o41777}, home(0o700)), ""},
		{"root's, closed", way(0, 0, directory{path: "/root", mode: 0o700}), ""},
		{"root's, open", way(0, 0, directory{path: "/srv", mode: 0o755}), "run them as root"},
		{"root's, in a home", way(0, 0, home(0o700)), "of alice, who could put something else there"},
	} {
		c.of.path = t.TempDir()
		if nosuid(t, c.of.path) {
			t.Skip("the temporary directory is mounted nosuid: there everything may be written to")
		}
		problem, hint := binder{users: people}.writable(c.of)
		if (problem == "") != (c.says == "") || !strings.Contains(problem, c.says) || problem != "" && hint == "" {
			t.Errorf("%s: want a problem that says %q, got %q (hint: %q)", c.name, c.says, problem, hint)
		}
	}
	none := binder{users: people, machine: store.Machine{Spec: spec.Spec{Security: spec.Security{PrivateUsers: spec.PrivateUsersNone}}}}
	if problem, _ := none.writable(way(1000, 1000, home(0o700))); !strings.Contains(problem, "alice") {
		t.Errorf("with the host's users root inside is root, and alice comes near: %q", problem)
	}
}

func TestOwnersAreMappedAsTheHostCan(t *testing.T) {
	able := func(string) error { return nil }
	unable := func(string) error { return errors.New("its file system (nfs4) does not") }
	for _, c := range []struct {
		name     string
		binder   binder
		readOnly bool
		uid, gid uint32
		idmap    unitfile.IDMap
		says     string
		cautions int
	}{
		{name: "it can", binder: binder{maps: able}, uid: 1000, gid: 1000, idmap: unitfile.RootIDMap},
		{name: "for reading", binder: binder{maps: able}, readOnly: true, uid: 1000, gid: 100, idmap: unitfile.RootIDMap},
		{name: "what is root's stays root's", binder: binder{maps: able}, readOnly: true},
		{name: "an old systemd", binder: binder{maps: able, systemd: 251}, uid: 1000, gid: 1000, says: "systemd 251"},
		{name: "the first that can", binder: binder{maps: able, systemd: 252}, uid: 1000, gid: 1000, idmap: unitfile.RootIDMap},
		{name: "a file system that cannot", binder: binder{maps: unable}, uid: 1000, gid: 1000, says: "nfs4"},
		{name: "such a one, for reading", binder: binder{maps: unable}, readOnly: true, uid: 1000, gid: 1000, cautions: 1},
		{name: "a group of another number", binder: binder{maps: able}, uid: 1000, gid: 100, says: "group 100"},
	} {
		out := binding{Bind: unitfile.Bind{ReadOnly: c.readOnly}}
		problem, _ := c.binder.mapOwners(&out, source{path: "/srv/x", uid: c.uid, gid: c.gid})
		if out.IDMap != c.idmap || (problem == "") != (c.says == "") || !strings.Contains(problem, c.says) || len(out.cautions) != c.cautions {
			t.Errorf("%s: mapped %q, cautions %q, problem %q", c.name, out.IDMap, out.cautions, problem)
		}
	}
}

func TestSourcesAreLookedAtWithoutFollowingAnything(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(dir, "real", "work")
	if err := errors.Join(os.MkdirAll(real, 0o755), os.Symlink("real", filepath.Join(dir, "link")), os.WriteFile(filepath.Join(real, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		real:                              "",
		filepath.Join(real, "file"):       "",
		filepath.Join(dir, "link"):        "leads through a link",
		filepath.Join(dir, "link/work"):   "leads through a link",
		filepath.Join(dir, "none/work"):   "there is no " + filepath.Join(dir, "none"),
		filepath.Join(real, "file/below"): "is not there",
		"/dev/null":                       "neither a directory nor a file",
	} {
		s, problem, hint := lookAt(path)
		if (problem == "") != (says == "") || !strings.Contains(problem, says) || problem != "" && hint == "" {
			t.Errorf("%s: want a problem that says %q, got %q (hint: %q)", path, says, problem, hint)
		}
		if problem == "" && s.dirs[len(s.dirs)-1].path != filepath.Dir(path) {
			t.Errorf("%s is reached through %v", path, s.dirs)
		}
	}
	if _, _, hint := lookAt(filepath.Join(dir, "link/work")); hint != "name it as "+real {
		t.Errorf("the hint for a link is %q", hint)
	}
}

func TestWhatKeepsTheHostIsNotBound(t *testing.T) {
	for source, allowed := range map[string]string{
		"/etc": "", "/etc/ssl": "ro", "/etc/systemd/nspawn": "", "/usr": "ro", "/usr/share": "ro", "/proc/1": "", "/run/user/1000": "",
		"/var": "", "/var/lib": "", "/var/lib/docker/x": "", "/var/lib/machines": "", "/var/www": "rw", "/home": "", "/home/alice": "rw",
		"/root": "", "/root/work": "rw", "/srv": "rw", "/boot/efi": "", "/root/.ssh": "ro", "/home/alice/.ssh/keys": "ro", "/sys": "", "/bin": "ro", "/runner": "rw",
	} {
		for _, readOnly := range []bool{true, false} {
			problem, hint := binder{}.sensitive(spec.Bind{Source: source, ReadOnly: readOnly})
			if want := allowed == "rw" || allowed == "ro" && readOnly; (problem == "") != want || problem != "" && hint == "" {
				t.Errorf("%s, for reading only %t: %q", source, readOnly, problem)
			}
		}
	}
}

func TestNoBindLeadsAnotherElsewhere(t *testing.T) {
	machine := func(name, tree string, binds ...spec.Bind) store.Machine {
		return store.Machine{Name: name, Tree: store.Tree{Path: tree}, Spec: spec.Spec{Directory: filepath.Dir(tree), Storage: spec.Storage{Binds: binds}}}
	}
	other := machine("other", "/root/containers/other", spec.Bind{Source: "/w/shared"}, spec.Bind{Source: "/w/read", ReadOnly: true})
	for source, says := range map[string]string{
		"/w/shared":                   "", // the same directory for both is no way around anything
		"/w/shared/x":                 "of machine other",
		"/w/read/x":                   "",
		"/w":                          "of machine other",
		"/w/sharedx":                  "",
		"/root/containers/other/srv":  "tree of machine other",
		"/root/containers":            "tree of",
		"/root/containers/box/var":    "tree of the machine itself",
		"/root/containers/box-2/work": "",
	} {
		bind := spec.Bind{Source: source}
		b := binder{machine: machine("box", "/root/containers/box", bind), all: []store.Machine{other}}
		if problem, hint := b.othersTrees(bind); (problem == "") != (says == "") || !strings.Contains(problem, says) || problem != "" && hint == "" {
			t.Errorf("%s: want a problem that says %q, got %q", source, says, problem)
		}
	}
	inner, outer := spec.Bind{Source: "/w/a/b"}, spec.Bind{Source: "/w/a"}
	if problem, _ := (binder{machine: machine("box", "/x/box", inner, outer)}).othersTrees(inner); problem == "" {
		t.Error("a machine may lead its own bind elsewhere")
	}
}

func nosuid(t *testing.T, path string) bool {
	t.Helper()
	ignored, err := host.IgnoresSetuid(path)
	if err != nil {
		t.Fatal(err)
	}
	return ignored
}
