package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
)

// emptied are the directories whose content is of the bootstrap only. Devices
// are those of whatever boots the tree.
var emptied = []string{
	archivesDirectory, listsDirectory, "dev", "run", "tmp", "var/cache/debconf/tmp.ci", "var/log/apt", "var/tmp",
}

// removed are files that the tools leave behind: their own, and what they have
// of the host or of an identity. A pattern's last part may have a *.
var removed = []string{
	temporarySources, temporaryApt, temporaryPins, temporaryDpkg,
	"etc/apt/apt.conf.d/*mmdebstrap", "etc/dpkg/dpkg.cfg.d/*mmdebstrap", "etc/apt/sources.list",
	"etc/hostname", "etc/.resolv.conf.systemd-resolved.bak", "etc/ssh/ssh_host_*",
	policyFile, "var/lib/dbus/machine-id",
	"var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
	"var/cache/apt/*.bin", "var/cache/debconf/*-old", "var/cache/ldconfig/aux-cache",
	"var/cache/debconf/tmp.ci", "var/lib/dpkg/*-old", "var/log/*.log",
}

// finish leaves the tree as a fresh machine, with sources of its own.
func (r *run) finish(a archive) error {
	if err := target.NoMounts(r.target); err != nil {
		return err
	}
	r.report.Phase("tidy")
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
	if err := r.tree.forgetHost(); err != nil {
		return err
	}
	a, err := r.ensureKeys(a)
	if err != nil {
		return err
	}
	if err := r.tree.Write("etc/apt/sources.list.d/"+r.distro+".sources", []byte(r.finalSources(a))); err != nil {
		return err
	}
	return r.tree.Own()
}

// forgetHost empties or removes what is the resolver's or the machine's own.
func (t tree) forgetHost() error {
	// A link is the resolver's; a file is what prepare put there.
	if info, err := t.Lstat("etc/resolv.conf"); err == nil && info.Mode().IsRegular() {
		if err := t.Delete("etc/resolv.conf"); err != nil {
			return err
		}
	}
	if _, err := t.Lstat("etc/machine-id"); err == nil {
		return t.Write("etc/machine-id", nil)
	}
	return nil
}

// ensureKeys makes sure that the keyring that the machine's sources name is in
// it. Where the distribution does not bring it, the one that was used is.
func (r *run) ensureKeys(a archive) (archive, error) {
	if _, err := r.tree.Stat(standardKeyrings(r.distro)[0][1:]); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return a, nil //nolint:nilerr // a link whose end cannot be looked at is there
	}
	for _, k := range []*keyring{&a.key, &a.securityKey} {
		if k.own || k.path == "" {
			continue
		}
		k.own = true
		keys, err := readKeys(k.path)
		if err != nil {
			return archive{}, err
		}
		if err := r.tree.Write(r.keyringInTree(*k, false)[1:], keys); err != nil {
			return archive{}, err
		}
	}
	r.keyring.own = true
	return a, nil
}

// facts checks the tree, whatever the tools said, and describes it.
func (r *run) facts(a archive) (sdk.Facts, error) {
	fields, err := sdk.ReadOSRelease(r.target)
	if err != nil {
		return sdk.Facts{}, err
	}
	if err := r.checkRelease(fields); err != nil {
		return sdk.Facts{}, err
	}
	entries, err := r.tree.installed()
	if err != nil {
		return sdk.Facts{}, err
	}
	if missing := missingPackages(r.packages, entries); len(missing) > 0 {
		return sdk.Facts{}, &sdk.Failure{
			Code:    sdk.CodeTool,
			Message: r.engine + " said it was done, but has not installed " + list(missing),
			Hint:    "try again; if it stays so, try --option " + optionEngine + " with the other tool",
		}
	}
	packages := r.describe(entries)
	if err := sdk.CheckPinned(r.pinned, packages); err != nil {
		return sdk.Facts{}, err
	}
	return sdk.Facts{
		OSRelease:      fields,
		SSHUnits:       r.tree.sshUnits(),
		NetworkUnits:   r.tree.Units("systemd-networkd.service"),
		ResolverUnits:  r.tree.Units("systemd-resolved.service"),
		PackageManager: "apt-get",
		MaskUnits:      r.tree.Units(disturbing...),
		Packages:       packages,
		ProbeHost:      aptsource.DNSName(a.uri),
	}, nil
}

// describe lists what is installed, sorted by name, with the digests of the
// files that it came in.
func (r *run) describe(entries []entry) []sdk.Package {
	packages := make([]sdk.Package, 0, len(entries))
	for _, e := range entries {
		e.SHA256 = r.digests[debName(e.Package)]
		packages = append(packages, e.Package)
	}
	slices.SortFunc(packages, func(a, b sdk.Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Architecture, b.Architecture))
	})
	return packages
}

// checkRelease makes sure that the tree is what was asked for: a mirror may
// have anything under a name.
func (r *run) checkRelease(fields map[string]string) error {
	got := fields["VERSION_CODENAME"]
	wrong := &sdk.Failure{
		Code: sdk.CodeMirror,
		Message: fmt.Sprintf("the mirror has %s %s under the name of %s %s",
			fields["ID"], got, r.distro, r.suite),
		Hint: "use another --mirror",
	}
	if fields["ID"] != r.distro {
		return wrong
	}
	known := r.host.releases(r.distro)
	// What is still being made calls itself by this name and that.
	if got == r.codename || !known.Released(r.codename) {
		return nil
	}
	return wrong
}

// disturbing are units that fail in a machine without a terminal: this one asks
// questions on the console at the first boot.
var disturbing = []string{"systemd-firstboot.service"}

// sshUnits are what makes sshd answer: the socket where the distribution has
// enabled that (Ubuntu from 22.10), else the service.
func (t tree) sshUnits() []string {
	if _, err := t.Lstat("etc/systemd/system/sockets.target.wants/ssh.socket"); err == nil {
		return []string{"ssh.socket"}
	}
	return t.Units("ssh.service")
}
