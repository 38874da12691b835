package testhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// hostPackages is what a host that runs nspawn-build has. mmdebstrap's own
// needs (a trusted keyring, gpg) come with apt.
var hostPackages = []string{
	"systemd", "systemd-sysv", "systemd-container", "systemd-resolved", "dbus", "libpam-systemd", "udev",
	"openssh-client", "sshpass", "iproute2", "nftables", "iputils-ping", "procps", "curl", "ca-certificates",
	"debootstrap", "mmdebstrap", "zstd", "uidmap", "squashfs-tools", "erofs-utils", "e2fsprogs", "xz-utils",
}

// machinePackages is what a Debian machine has: the set of the debootstrap
// plugin, here for the fixture distribution.
var machinePackages = []string{
	"systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "iproute2", "ca-certificates",
	"systemd-resolved", "libnss-resolve",
}

// lean leaves out of a machine what is only read by people: two thirds of its
// files, which scenarios would extract and remove a hundred times.
var lean = []string{
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
}

// debian knows where packages come from on this machine.
type debian struct {
	codename string
	sources  []source
	main     source
	settings string // in the form of apt.conf
}

// thisDebian reads the apt sources of the machine that the tests run on.
func thisDebian() (debian, error) {
	name, err := codename("/etc/os-release")
	if err != nil {
		return debian{}, err
	}
	sources, err := debianSources("/etc/apt", name)
	if err != nil {
		return debian{}, err
	}
	main, err := mainSource(sources, name)
	if err != nil {
		return debian{}, err
	}
	settings, err := mirrorSettings()
	if err != nil {
		return debian{}, err
	}
	return debian{name, sources, main, settings}, nil
}

// mirrorSettings are those of apt's settings that belong to the mirror, not to
// the machine: the dates on a mirror that is a snapshot are past, and whoever
// points a machine to one says so there.
func mirrorSettings() (string, error) {
	var all strings.Builder
	for _, name := range []string{"Acquire::Check-Valid-Until", "Acquire::Check-Date"} {
		out, err := exec.Command("apt-config", "dump", "--no-empty", "--format", `%F "%v";%n`, name).Output()
		if err != nil {
			return "", fmt.Errorf("read apt's settings: %w", err)
		}
		all.Write(out)
	}
	return all.String(), nil
}

// hostTree returns the cached tree of a host that runs suite.
func (d debian) hostTree(ctx context.Context, suite string, packages []string) (string, error) {
	packages = slices.Concat(hostPackages, packages)
	if suite != "bookworm" {
		packages = append(packages, "libnss-resolve")
	}
	parts := append([]string{suite, forSuite(d.sources, d.codename, suite), d.settings, hostFiles}, packages...)
	return Cached(ctx, "host-"+suite, parts, func(path string) error {
		if err := d.mmdebstrap(ctx, suite, packages, path); err != nil {
			return err
		}
		return d.asHost(path, suite)
	})
}

// CachedHost returns the tree of a host that is not Debian, for Options.Tree.
// It is made from parts, which are all that it depends on: build fills a
// directory, which is then given a name, an uplink and services like any host.
func CachedHost(ctx context.Context, kind string, parts []string, build func(tree string) error) (string, error) {
	return Cached(ctx, "host-"+kind, append(parts, hostFiles), func(path string) error {
		if err := build(path); err != nil {
			return err
		}
		return configure(path)
	})
}

// MachineTarball returns a tar.zst of a real Debian machine as mmdebstrap
// makes it, unconfigured: what the fixture distribution extracts.
func MachineTarball(ctx context.Context, suite string) (string, error) {
	d, err := thisDebian()
	if err != nil {
		return "", err
	}
	parts := slices.Concat([]string{suite, d.main.URI.String()}, lean, machinePackages)
	return Cached(ctx, "machine-"+suite, parts, func(path string) error {
		tarball := path + ".tar.zst" // by its ending mmdebstrap knows the format
		if err := d.mmdebstrap(ctx, suite, machinePackages, tarball, lean...); err != nil {
			return err
		}
		return os.Rename(tarball, path)
	})
}

// mmdebstrap makes a tree or tarball at target.
func (d debian) mmdebstrap(ctx context.Context, suite string, packages []string, target string, more ...string) error {
	args := append([]string{
		"--quiet", "--mode=root", "--variant=minbase", "--include=" + strings.Join(packages, ","),
		"--components=" + strings.Join(d.main.Components, ","),
	}, more...)
	if d.main.SignedBy != "" {
		args = append(args, "--keyring="+d.main.SignedBy)
	}
	for setting := range strings.Lines(d.settings) {
		args = append(args, "--aptopt="+strings.TrimSpace(setting))
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, target, d.main.URI.String())...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	// In namespaces of its own, so that nothing is left when this test process dies.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := onOwnThread(cmd.Run); err != nil {
		return fmt.Errorf("mmdebstrap %s: %w\n%s", suite, err, output.String())
	}
	return nil
}

// hostFiles says what asHost writes, for the key of the cache.
const hostFiles = hostNetwork + hostResolver + "modules-load masked"

const hostNetwork = `[Match]
Name=` + hostLink + `

[Network]
Address=` + hostPrefix + `
DNS=` + OutsideAddress + `
LinkLocalAddressing=ipv6
IPv6AcceptRA=no
`

const hostResolver = "nameserver " + OutsideAddress + "\n"

// asHost turns a fresh tree into that of a user's host, with its apt sources.
func (d debian) asHost(tree, suite string) error {
	if err := os.Remove(filepath.Join(tree, "etc/apt/sources.list")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make a tree that of a host: %w", err)
	}
	for name, text := range map[string]string{
		"etc/apt/sources.list.d/debian.sources": forSuite(d.sources, d.codename, suite),
		"etc/apt/apt.conf.d/90-mirror":          d.settings,
	} {
		if err := writeIn(tree, name, text); err != nil {
			return err
		}
	}
	return configure(tree)
}

// configure gives a host its name, its uplink and its services.
func configure(tree string) error {
	for _, stale := range []string{"etc/resolv.conf", "etc/hostname"} {
		if err := os.Remove(filepath.Join(tree, stale)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("make a tree that of a host: %w", err)
		}
	}
	for name, text := range map[string]string{
		"etc/hostname":                          "testhost\n",
		"etc/hosts":                             "127.0.0.1 localhost testhost\n",
		"etc/systemd/network/10-uplink.network": hostNetwork,
	} {
		if err := writeIn(tree, name, text); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{
		"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
		// The kernel is not the host's, and has no modules for it.
		"etc/systemd/system/systemd-modules-load.service": "/dev/null",
	} {
		if err := os.Symlink(to, filepath.Join(tree, name)); err != nil {
			return fmt.Errorf("make a tree that of a host: %w", err)
		}
	}
	out, err := exec.Command("systemctl", "--root="+tree, "--quiet", "enable", "systemd-networkd", "systemd-resolved").CombinedOutput()
	if err != nil {
		return fmt.Errorf("enable the host's services: %w: %s", err, out)
	}
	return nil
}

func writeIn(tree, name, text string) error {
	path := filepath.Join(tree, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		return fmt.Errorf("make a tree that of a host: %w", err)
	}
	return nil
}
