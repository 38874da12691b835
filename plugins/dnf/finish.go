package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// emptied are the directories whose content is of the bootstrap only. Devices
// are those of whatever boots the tree.
var emptied = []string{
	"dev", "run", "tmp", "var/tmp", "var/cache/dnf", "var/cache/libdnf5", "var/log/journal",
}

// modes are those of directories that were below a mount when their package was
// installed.
var modes = map[string]fs.FileMode{
	"dev": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555, "tmp": 0o777 | fs.ModeSticky,
}

// removed are files that the tools leave behind: their own, and what they have
// of the host or of an identity. A pattern's last part may have a *.
var removed = []string{
	"etc/hostname", "etc/ssh/ssh_host_*", "var/lib/dbus/machine-id",
	"var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
	"var/cache/ldconfig/aux-cache", "var/log/*.log", "var/log/*.log.*",
	"usr/lib/sysimage/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.keyring.lock", "var/lib/rpm/.rpm.lock",
	"var/lib/dnf/*.lock", "var/lib/dnf/*.pid",
}

// finish leaves the tree as a fresh machine, with repositories of its own.
func (r *run) finish(keys []pgpkeys.Key) error {
	if err := target.NoMounts(r.target); err != nil {
		return err
	}
	r.report.Phase(phaseTidy)
	for _, name := range emptied {
		if err := r.tree.Clear(name); err != nil {
			return err
		}
	}
	for _, pattern := range removed {
		if err := r.tree.DeleteMatching(pattern); err != nil {
			return err
		}
	}
	if r.epoch > 0 {
		if err := r.forgetHistory(); err != nil {
			return err
		}
	}
	for name, mode := range modes {
		if err := r.tree.Chmod(name, mode); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	if err := r.forgetHost(); err != nil {
		return err
	}
	if err := r.useMirrors(keys); err != nil {
		return err
	}
	return r.tree.Own()
}

// histories are dnf's records of what it did: when, by which command line.
var histories = []string{
	"var/lib/dnf/history.sqlite*", "usr/lib/sysimage/libdnf5/transaction_history.sqlite*", "usr/lib/sysimage/dnf/history.sqlite*",
}

// forgetHistory removes the records, of which no two are alike. dnf begins new
// ones; dnf 4 then takes every package for one that was asked for.
func (r *run) forgetHistory() error {
	for _, pattern := range histories {
		if err := r.tree.DeleteMatching(pattern); err != nil {
			return err
		}
	}
	return nil
}

// forgetHost empties or removes what is the resolver's or the machine's own.
func (r *run) forgetHost() error {
	// A link is the resolver's.
	if info, err := r.tree.Lstat("etc/resolv.conf"); err == nil && info.Mode().IsRegular() {
		if err := r.tree.Delete("etc/resolv.conf"); err != nil {
			return err
		}
	}
	if _, err := r.tree.Lstat("etc/machine-id"); err == nil {
		return r.tree.Write("etc/machine-id", nil)
	}
	return nil
}

const (
	repositoriesInTree = "etc/yum.repos.d"
	ownRepositories    = repositoriesInTree + "/nspawn-build.repo"
	ownKey             = "etc/pki/rpm-gpg/RPM-GPG-KEY-nspawn-build"
)

// useMirrors makes the machine use the user's mirrors, as far as it can reach
// them, and turns the distribution's own repositories off for that. Otherwise the
// machine uses those.
func (r *run) useMirrors(keys []pgpkeys.Key) error {
	text := r.machineRepositories()
	if text == "" {
		return nil
	}
	entries, err := fs.ReadDir(r.tree.FS(), repositoriesInTree)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("target: %w", err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || path.Ext(entry.Name()) != ".repo" {
			continue
		}
		name := path.Join(repositoriesInTree, entry.Name())
		old, err := r.tree.ReadFile(name)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if err := r.tree.Write(name, turnOff(old)); err != nil {
			return err
		}
	}
	var armored []byte
	for _, key := range keys {
		armored = append(armored, pgpkeys.Armor(key)...)
	}
	if err := r.tree.Write(ownKey, armored); err != nil {
		return err
	}
	return r.tree.Write(ownRepositories, []byte(text))
}

var enabled = regexp.MustCompile(`(?m)^enabled[ \t]*=[ \t]*(?:1|[Tt]rue|[Yy]es)[ \t]*$`)

// turnOff is a file of repositories with all that it has enabled turned off.
func turnOff(text []byte) []byte { return enabled.ReplaceAll(text, []byte("enabled=0")) }

// machineRepositories is the file that makes the machine use the mirrors, with
// their variables as the user wrote them: they follow when the machine is
// upgraded. It is empty where the machine cannot reach one of them.
func (j *job) machineRepositories() string {
	if len(j.mirrors) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("# Written by nspawn-build when this machine was made.\n")
	for i, r := range j.repositories {
		if onlyHere(r.baseurl) {
			return ""
		}
		fmt.Fprintf(&b, "\n[nspawn-build-%d]\nname=%s\nbaseurl=%s\nenabled=1\ngpgcheck=1\ngpgkey=file:///%s\n",
			i+1, r.name, j.mirrors[i], ownKey)
	}
	return b.String()
}

// disturbing are units that fail in a machine without a terminal: this one asks
// questions on the console at the first boot.
var disturbing = []string{"systemd-firstboot.service"}

// facts describes the tree.
func (r *run) facts(packages []sdk.Package) (sdk.Facts, error) {
	fields, err := sdk.ReadOSRelease(r.target)
	if err != nil {
		return sdk.Facts{}, err
	}
	if err := r.checkRelease(fields); err != nil {
		return sdk.Facts{}, err
	}
	if err := sdk.CheckPinned(r.pinned, packages); err != nil {
		return sdk.Facts{}, err
	}
	return sdk.Facts{
		OSRelease:      fields,
		SSHUnits:       r.tree.Units("sshd.service"),
		NetworkUnits:   r.tree.Units("systemd-networkd.service"),
		ResolverUnits:  r.tree.Units("systemd-resolved.service"),
		PackageManager: "dnf",
		Packages:       packages,
		MaskUnits:      r.tree.Units(disturbing...),
		ProbeHost:      dnsName(r.repositories[0].place()),
	}, nil
}

// checkRelease makes sure that the tree is what was asked for: a mirror may have
// anything at its address, and versions of dnf5 have ignored --releasever with
// --installroot (rpm-software-management/dnf5#2861).
func (r *run) checkRelease(fields map[string]string) error {
	got := fields["VERSION_ID"]
	same := r.release == rawhide || got == r.release || r.distro.el && major(got) == r.release
	if fields["ID"] == r.distro.name && same {
		return nil
	}
	return &sdk.Failure{
		Code:    sdk.CodeMirror,
		Message: fmt.Sprintf("the mirror has %s %s under the name of %s %s", fields["ID"], got, r.distro.name, r.release),
		Hint:    "check the --mirror: in its place, $releasever stands for the release",
	}
}
