package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// sourceForm is the name of a source package's file.
var sourceForm = regexp.MustCompile(`^(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm$`)

// parsePackage reads a line of listPackages. Keys are in the database too.
func parsePackage(line string) (sdk.Package, bool) {
	fields := strings.SplitN(line, "|", 5)
	if len(fields) != 5 || fields[0] == "gpg-pubkey" {
		return sdk.Package{}, false
	}
	p := sdk.Package{Name: fields[0], Version: strings.TrimPrefix(fields[1], "0:"), Architecture: fields[2], License: fields[4]}
	if m := sourceForm.FindStringSubmatch(fields[3]); m != nil {
		p.Source, p.SourceVersion = m[1], m[2]
	}
	return p, true
}

// fileName is that of the file that a package came in.
func fileName(p sdk.Package) string {
	version := p.Version
	if _, rest, ok := strings.Cut(version, ":"); ok {
		version = rest
	}
	return p.Name + "-" + version + "." + p.Architecture + ".rpm"
}

// installed asks the tree's database what is installed.
func (r *run) installed(ctx context.Context) ([]sdk.Package, error) {
	var all []sdk.Package
	ask := sdk.Command{Argv: r.listPackages(), Dir: r.WorkDirectory, Env: r.environment(), OnLine: func(line string) {
		if p, ok := parsePackage(line); ok {
			all = append(all, p)
		}
	}}
	if err := ask.Run(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b sdk.Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Architecture, b.Architecture))
	})
	return all, nil
}

// emptied are directories whose content is of the bootstrap only.
var emptied = []string{"dev", "run", "tmp", "var/tmp", "var/cache/zypp", "var/log/zypp", "var/log/journal"}

// removed are files that tell this host or this tree from others, or that the
// tools have left behind.
var removed = []string{
	"etc/hostname", "etc/ssh/ssh_host_*", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
	"var/lib/zypp/AnonymousUniqueId", "var/cache/ldconfig/aux-cache", "usr/lib/sysimage/rpm/.rpm.lock",
}

// modes are those of directories that were below a mount when their package was
// installed.
var modes = map[string]fs.FileMode{"dev": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555, "tmp": 0o777 | fs.ModeSticky}

// finish leaves the tree as a fresh machine that uses the same mirrors.
func (r *run) finish() error {
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
	for name, mode := range modes {
		if err := r.tree.Chmod(name, mode); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	// A link is the resolver's.
	if info, err := r.tree.Lstat("etc/resolv.conf"); err == nil && info.Mode().IsRegular() {
		if err := r.tree.Delete("etc/resolv.conf"); err != nil {
			return err
		}
	}
	// Empty, it is filled when the machine boots.
	if err := r.tree.Write("etc/machine-id", nil); err != nil {
		return err
	}
	for i, mirror := range r.Mirrors {
		if onlyHere(r.urls[i]) {
			continue
		}
		if err := r.tree.Write("etc/zypp/repos.d/nspawn-build-"+repositoryID(i)+".repo", []byte(repository(i, mirror))); err != nil {
			return err
		}
	}
	return r.tree.Own()
}

// onlyHere reports whether nobody but this host can reach an address.
func onlyHere(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "file" || u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// facts describes the tree.
func (r *run) facts(packages []sdk.Package) (sdk.Facts, error) {
	fields, err := sdk.ReadOSRelease(r.Target)
	if err != nil {
		return sdk.Facts{}, err
	}
	if fields["ID"] != r.Distro || r.Release != rolling && fields["VERSION_ID"] != r.Release {
		return sdk.Facts{}, &sdk.Failure{
			Code:    sdk.CodeMirror,
			Message: fmt.Sprintf("the mirror has %s %s under the name of %s %s", fields["ID"], fields["VERSION_ID"], r.Distro, r.Release),
			Hint:    "check the --mirror and the --release",
		}
	}
	facts := sdk.Facts{
		OSRelease:      fields,
		SSHUnits:       r.tree.Units("sshd.service"),
		NetworkUnits:   r.tree.Units("systemd-networkd.service"),
		ResolverUnits:  r.tree.Units("systemd-resolved.service"),
		PackageManager: "zypper",
		Packages:       packages,
		MaskUnits:      r.tree.Units("systemd-firstboot.service"), // it asks questions on the console
	}
	// That the machine can resolve its first mirror shows that its DNS works.
	if u, err := url.Parse(r.urls[0]); err == nil && !onlyHere(r.urls[0]) {
		if _, err := netip.ParseAddr(u.Hostname()); err != nil {
			facts.ProbeHost = u.Hostname()
		}
	}
	return facts, nil
}
