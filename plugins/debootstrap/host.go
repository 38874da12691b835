package main

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// host is what the plugin asks of the host it runs on before it does anything.
type host struct {
	root    fs.FS // of the host
	find    func(names ...string) string
	now     func() time.Time
	machine string // as `uname -m` prints it
}

func thisHost() host {
	var name unix.Utsname
	machine := ""
	if unix.Uname(&name) == nil {
		machine = unix.ByteSliceToString(name.Machine[:])
	}
	return host{root: os.DirFS("/"), find: sdk.FindTool, now: time.Now, machine: machine}
}

func (h host) releases(distro string) release.Known {
	return release.Read(h.root, distro, h.now())
}

func (h host) osRelease() map[string]string {
	f, err := h.root.Open("etc/os-release")
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read from
	fields, err := sdk.ParseOSRelease(f)
	if err != nil {
		return nil
	}
	return fields
}

// The families of hosts: who shares package names.
const (
	familyDebian = "debian"
	familyArch   = "arch"
	familyFedora = "fedora"
)

func (h host) family() string {
	fields := h.osRelease()
	ids := append([]string{fields["ID"]}, strings.Fields(fields["ID_LIKE"])...)
	for _, id := range ids {
		switch id {
		case "debian", "ubuntu":
			return familyDebian
		case "arch":
			return familyArch
		case "fedora", "rhel", "centos":
			return familyFedora
		}
	}
	return ""
}

// install returns the command that installs a package whose name may differ by
// family; the entry for Debian stands for those that are not given.
func (h host) install(names map[string]string) string {
	family := h.family()
	name := names[family]
	if name == "" {
		name = names[familyDebian]
	}
	switch family {
	case familyDebian:
		return "apt-get install " + name
	case familyArch:
		return "pacman -S " + name
	case familyFedora:
		return "dnf install " + name
	}
	return "install the package " + name
}

// archive finds where the host gets distro from, if it is of that distribution
// itself.
func (h host) archive(distro string) aptsource.Archive {
	fields := h.osRelease()
	if fields["ID"] != distro {
		return aptsource.Archive{}
	}
	suites := []string{fields["VERSION_CODENAME"]}
	if distro == release.Debian {
		suites = append(suites, "stable", "testing", "unstable", "sid", "oldstable")
	}
	suites = slices.DeleteFunc(suites, func(suite string) bool { return suite == "" })
	return aptsource.FindArchive(aptsource.ReadHost(h.root), distro, suites)
}

// debianArchitectures maps what `uname -m` prints to Debian's names.
var debianArchitectures = map[string]string{
	"x86_64": "amd64", "aarch64": "arm64", "i386": "i386", "i686": "i386", "armv7l": "armhf",
	"riscv64": "riscv64", "ppc64le": "ppc64el", "s390x": "s390x", "loongarch64": "loong64",
}

// qemuNames maps what `uname -m` prints to the names of qemu's binfmt entries
// where they differ.
var qemuNames = map[string]string{"i686": "i386", "armv7l": "arm"}

// native reports whether the kernel runs the architecture's programs itself.
func (h host) native(machine string) bool {
	return machine == h.machine ||
		debianArchitectures[machine] == "i386" && (h.machine == "x86_64" || h.machine == "i686")
}

// emulated reports whether the kernel hands the architecture's programs to an
// emulator that it holds open, so that it is there inside a machine too.
func (h host) emulated(machine string) bool {
	name := machine
	if other := qemuNames[machine]; other != "" {
		name = other
	}
	text, err := fs.ReadFile(h.root, "proc/sys/fs/binfmt_misc/qemu-"+name)
	if err != nil {
		return false
	}
	enabled, fixed := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		enabled = enabled || line == "enabled"
		flags, ok := strings.CutPrefix(line, "flags:")
		fixed = fixed || ok && strings.Contains(flags, "F")
	}
	return enabled && fixed
}

// architectures lists what the host can run, its own first.
func (h host) architectures() []string {
	var others []string
	for machine := range debianArchitectures {
		if machine != h.machine && machine != "i386" && (h.native(machine) || h.emulated(machine)) {
			others = append(others, machine)
		}
	}
	slices.Sort(others)
	return append([]string{h.machine}, others...)
}
