package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

var treeRules = []Rule{
	{
		ID: sdk.RuleTreeInit, Group: GroupTree,
		Says: "The tree has systemd as its init.",
		Why:  "It is what systemd-nspawn --boot starts.",
		Meet: "Install systemd and what brings /sbin/init: on Debian that is systemd-sysv.",

		check: intact(),
	},
	{
		ID: "tree-sshd", Group: GroupTree,
		Says: "The tree has sshd.",
		Why:  "A machine is proved by a login over SSH.",
		Meet: "Install openssh-server, or what the distribution calls it.",

		check: inTree(func(t *tree) []string {
			for _, name := range []string{"usr/sbin/sshd", "usr/bin/sshd"} {
				if sdk.HasProgram(t.Name(), name) {
					return nil
				}
			}
			return []string{"neither /usr/sbin/sshd nor /usr/bin/sshd is a program"}
		}),
	},
	{
		ID: "tree-identity", Group: GroupTree,
		Says: "The tree has no identity: no machine-id, host name, SSH host key or random seed.",
		Why:  "A tree is kept, copied and published, and becomes many machines. Two with the same host key can pretend to be each other.",
		Meet: "Remove, when all is installed, what packages' scripts have made: /etc/machine-id is empty or says uninitialized, /etc/ssh/ssh_host_* are gone.",

		check: inTree((*tree).identity),
	},
	{
		ID: "tree-secrets", Group: GroupTree,
		Says: "Nobody has a password or a key in the tree, and nobody can log in without one.",
		Why:  "Who may log in is for the host to say, and what is in the tree would be the same everywhere.",
		Meet: "Leave passwords locked (`*` or `!` in /etc/shadow), and remove what is in root's .ssh.",

		check: inTree((*tree).secrets),
	},
	{
		ID: "tree-owners", Group: GroupTree,
		Says: "The root directory is root's with mode 0755, every file belongs to a user and a group that the tree knows, and none outside of temporary directories can be written by everyone.",
		Why:  "A file of an unknown user belongs to whoever gets the number next. What everyone can write is not what was installed for long.",
		Meet: "Unpack as root with numeric owners, and make the users of packages before their files; chmod 0755 the root directory, which the host gives with 0700.",

		check: inTree((*tree).owners),
	},
	{
		ID: "tree-tidy", Group: GroupTree,
		Says: "/run, /tmp, /var/tmp, /proc and /sys are empty.",
		Why:  "What is in them is of the bootstrap, not of the system; it is hidden when the machine runs, and takes room for ever.",
		Meet: "Empty them at the end, once nothing is mounted there.",

		check: inTree((*tree).tidy),
	},
	{
		ID: "tree-host-paths", Group: GroupTree,
		Says: "No file in /etc names a directory of the job.",
		Why:  "It is not there in the machine, and says where the tree was made.",
		Meet: "Give tools their configuration from outside of the tree, and take out of it what they wrote down.",

		check: inTree((*tree).hostPaths),
	},
}

// tree is what a job has made. Nothing leads out of it.
type tree struct {
	*os.Root

	grants Grants
}

func inTree(look func(*tree) []string) check {
	return finished(func(_ context.Context, e *exam) outcome {
		root, err := os.OpenRoot(e.made.grants.Target)
		if err != nil {
			return skipped("%s", reason(err))
		}
		defer root.Close() //nolint:errcheck // only read from
		return of(look(&tree{root, e.made.grants}))
	})
}

// read returns a file that is small, and nothing when it is no such file.
func (t *tree) read(name string) []byte {
	const limit = 1 << 20
	info, err := t.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil
	}
	text, err := t.ReadFile(name)
	if err != nil {
		return nil
	}
	return text
}

func (t *tree) matching(patterns ...string) (all []string) {
	for _, p := range patterns {
		found, _ := fs.Glob(t.FS(), p) // the patterns are well formed
		all = append(all, found...)
	}
	return all
}

func (t *tree) identity() (seen []string) {
	if id := strings.TrimSpace(string(t.read("etc/machine-id"))); id != "" && id != "uninitialized" {
		seen = append(seen, fmt.Sprintf("/etc/machine-id is %s", short(id)))
	}
	if name := strings.TrimSpace(string(t.read("etc/hostname"))); name != "" && !strings.HasPrefix(name, "localhost") {
		seen = append(seen, fmt.Sprintf("/etc/hostname is %s", short(name)))
	}
	if len(t.read("var/lib/dbus/machine-id")) > 0 {
		seen = append(seen, "there is a /var/lib/dbus/machine-id")
	}
	for _, name := range t.matching("etc/ssh/ssh_host_*", "var/lib/systemd/random-seed") {
		seen = append(seen, "there is a /"+name)
	}
	return seen
}

func (t *tree) secrets() (seen []string) {
	for _, name := range []string{"etc/passwd", "etc/shadow"} {
		text := t.read(name)
		if _, err := t.Lstat(name); err == nil && text == nil {
			seen = append(seen, "/"+name+" is no plain file of a sane length")
		}
		for line := range bytes.Lines(text) {
			fields := strings.Split(string(line), ":")
			if len(fields) < 2 {
				continue
			}
			switch hash := strings.TrimSpace(fields[1]); {
			case hash == "":
				seen = append(seen, fields[0]+" can log in without a password")
			case name == "etc/passwd" && hash == "x": // see /etc/shadow
			case !strings.HasPrefix(hash, "!") && !strings.HasPrefix(hash, "*"):
				seen = append(seen, fields[0]+" has a password")
			}
		}
	}
	for _, name := range t.matching("root/.ssh/*", "home/*/.ssh/*", "etc/ssl/private/*", "root/.gnupg/*", "root/.bash_history") {
		seen = append(seen, "there is a /"+name)
	}
	return seen
}

// ids are the numbers in a file such as /etc/passwd.
func (t *tree) ids(name string) map[string]bool {
	all := map[string]bool{"0": true}
	for line := range bytes.Lines(t.read(name)) {
		if fields := strings.Split(string(line), ":"); len(fields) > 2 {
			all[fields[2]] = true
		}
	}
	return all
}

// openToAll are directories that everyone can write to, with the sticky bit.
var openToAll = map[string]bool{"tmp": true, "var/tmp": true, "dev": true, "proc": true, "sys": true, "run": true}

func (t *tree) owners() (seen []string) {
	users, groups := t.ids("etc/passwd"), t.ids("etc/group")
	err := fs.WalkDir(t.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.ErrUnsupported
		}
		owner, group := fmt.Sprint(stat.Uid), fmt.Sprint(stat.Gid)
		switch mode := info.Mode(); {
		case name == "." && (stat.Uid != 0 || stat.Gid != 0 || mode.Perm() != 0o755):
			seen = append(seen, fmt.Sprintf("/ is %s:%s with mode %04o", owner, group, mode.Perm()))
		case !users[owner]:
			seen = append(seen, fmt.Sprintf("/%s belongs to the user %s, whom /etc/passwd does not have", name, owner))
		case !groups[group]:
			seen = append(seen, fmt.Sprintf("/%s belongs to the group %s, which /etc/group does not have", name, group))
		case mode.Perm()&0o002 != 0 && mode&(fs.ModeSymlink|fs.ModeSticky|fs.ModeDevice|fs.ModeSocket) == 0:
			seen = append(seen, fmt.Sprintf("/%s can be written by everyone", name))
		}
		if openToAll[name] && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		seen = append(seen, err.Error())
	}
	return seen
}

func (t *tree) tidy() (seen []string) {
	for _, dir := range []string{"run", "tmp", "var/tmp", "proc", "sys"} {
		info, err := t.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue // a link, as /var/tmp may be
		}
		entries, _ := fs.ReadDir(t.FS(), dir)
		for _, entry := range entries {
			seen = append(seen, "there is a /"+path.Join(dir, entry.Name()))
		}
	}
	return seen
}

func (t *tree) hostPaths() (seen []string) {
	names := map[string]string{"target": t.grants.Target, "cache directory": t.grants.CacheDirectory, "work directory": t.grants.WorkDirectory}
	_ = fs.WalkDir(t.FS(), "etc", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read has no path in it
		}
		text := t.read(name)
		for what, dir := range names {
			if dir != "" && bytes.Contains(text, []byte(dir)) {
				seen = append(seen, fmt.Sprintf("/%s names the %s", name, what))
			}
		}
		return nil
	})
	return seen
}
