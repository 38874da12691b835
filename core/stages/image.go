package stages

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

const (
	hostKeysUnit     = "nspawn-build-hostkeys.service"
	pathEtherNetwork = "etc/systemd/network/85-nspawn-build.network"
	anyHosts         = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
)

// keyMakers are units that make host keys where there are none, of
// distributions that have one.
var keyMakers = []string{"sshdgenkeys.service", "sshd-keygen@.service", "sshd-keygen.service"}

// firstKeys wishes for a unit that makes host keys at the first boot, unless
// the tree has one itself.
func firstKeys(tree *rootfs.Tree, sshUnits []string) ([]wish, error) {
	for _, unit := range keyMakers {
		for _, dir := range unitDirs {
			if _, err := tree.Stat(dir + "/" + unit); err == nil {
				return nil, nil
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	content, err := unitfile.HostKeysUnit(sshUnits)
	if err != nil {
		return nil, err
	}
	return []wish{
		{path: pathUnits + "/" + hostKeysUnit, content: content, mode: 0o644},
		{path: pathUnits + "/multi-user.target.wants/" + hostKeysUnit, target: "/" + pathUnits + "/" + hostKeysUnit},
	}, nil
}

// ImageNetwork has an image ask for its address wherever it boots, and know
// no name but localhost.
type ImageNetwork struct{ Record *store.Record }

// Name is "network".
func (*ImageNetwork) Name() string { return NameNetwork }

func (n *ImageNetwork) wishes() ([]wish, error) {
	ether, err := unitfile.EtherNetwork()
	if err != nil {
		return nil, err
	}
	wishes := []wish{
		{path: pathEtherNetwork, content: ether, mode: 0o644},
		{path: pathHosts, content: []byte(anyHosts), mode: 0o644},
	}
	if f := n.Record.Machine().Facts; f != nil && len(f.ResolverUnits) > 0 {
		return append(wishes, wish{path: pathResolvConf, target: stubResolvConf}), nil
	}
	return append(wishes, wish{path: pathResolvConf, content: resolvConf(nil), mode: 0o644}), nil
}

// Check lists what is missing in the tree.
func (n *ImageNetwork) Check(context.Context) ([]pipeline.Change, error) {
	var changes []pipeline.Change
	wishes, err := n.wishes()
	if err != nil {
		return nil, err
	}
	err = withTree(n.Record, func(tree *rootfs.Tree) error {
		left, err := open(tree, wishes)
		for _, w := range left {
			changes = append(changes, w.change())
		}
		return err
	})
	if errors.Is(err, errNoTree) {
		return []pipeline.Change{{Action: "create", Subject: "/" + pathEtherNetwork}}, nil
	}
	return changes, err
}

// Apply writes it.
func (n *ImageNetwork) Apply(context.Context) error {
	wishes, err := n.wishes()
	if err != nil {
		return err
	}
	return withTree(n.Record, func(tree *rootfs.Tree) error {
		left, err := open(tree, wishes)
		for _, w := range left {
			err = errors.Join(err, w.grant(tree))
		}
		return err
	})
}

// CheckFacts refuses facts that could lead out of a tree.
func CheckFacts(f sdk.Facts) error { return checkFacts(f) }

// Anonymize makes of a tree one of nobody: its identity, what it remembers of
// having run and of having been made, and backups that tools keep are taken out
// of it. What stands for an identity is made at the first boot. The keys that
// the spec lets in stay.
func Anonymize(ctx context.Context, tree *rootfs.Tree) error {
	if err := tree.WriteFile(pathMachineID, []byte(firstBoot), 0o444); err != nil {
		return err
	}
	if err := removeFiles(tree, slices.Concat(identity, history, signing, traces)); err != nil {
		return err
	}
	for _, dir := range slices.Concat(memories, waste) {
		if err := tree.Clear(ctx, dir); err != nil {
			return err
		}
	}
	return emptyLogs(tree, "var/log")
}

// traces are files that tell when, where or how a tree was made, or what it was
// before the last change. No package has them.
var traces = []string{
	"etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-", "etc/subuid-", "etc/subgid-", "etc/.pwd.lock",
	"etc/adjtime", "root/.bash_history", "root/.lesshst", "root/.wget-hsts", "root/.viminfo", "root/.python_history",
	"var/lib/systemd/timesync/clock", "var/lib/dpkg/*-old", "var/lib/dpkg/lock*", "var/lib/dpkg/triggers/Lock", "var/cache/debconf/*-old",
	"var/cache/apt/*.bin", "var/cache/apt/archives/*.deb", "var/cache/apt/archives/lock", "var/lib/apt/lists/lock",
	"var/lib/rpm/__db.*", "var/lib/pacman/db.lck", "var/cache/ldconfig/aux-cache",
}

// waste are directories of what can be had again and is not part of a system.
var waste = []string{
	"run", "tmp", "var/tmp", "var/cache/man", "var/cache/pacman/pkg", "var/cache/dnf", "var/cache/libdnf5", "var/cache/yum",
	"var/cache/apt/archives/partial", "var/cache/fontconfig", "root/.cache",
}

// databases are logs that are there for programs, which miss them.
var databases = []string{"wtmp", "btmp", "lastlog", "faillog"}

// emptyLogs removes what has been logged, and keeps the directories.
func emptyLogs(tree *rootfs.Tree, dir string) error {
	entries, err := tree.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := dir + "/" + e.Name()
		switch {
		case e.IsDir():
			err = emptyLogs(tree, name)
		case !e.Type().IsRegular():
			continue
		case slices.Contains(databases, e.Name()):
			if err = tree.ReplaceFile(name, nil); err != nil {
				err = tree.Remove(name)
			}
		default:
			err = tree.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
