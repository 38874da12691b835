package sdk

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The families of hosts: who shares package names, as in ToolNeed.Packages.
const (
	FamilyDebian = "debian"
	FamilyArch   = "arch"
	FamilyFedora = "fedora"
)

// Host is what a plugin asks of the host before it does anything. A test makes
// its own.
type Host struct {
	Root    fs.FS                        // of the host's files
	Find    func(names ...string) string // as FindTool
	Machine string                       // as `uname -m` prints it
}

// ThisHost is the host that the plugin runs on.
func ThisHost() Host {
	var name unix.Utsname
	machine := ""
	if unix.Uname(&name) == nil {
		machine = unix.ByteSliceToString(name.Machine[:])
	}
	return Host{Root: os.DirFS("/"), Find: FindTool, Machine: machine}
}

// OSRelease returns the fields of the host's os-release, none when it has none.
func (h Host) OSRelease() map[string]string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		f, err := h.Root.Open(name)
		if err != nil {
			continue
		}
		fields, err := ParseOSRelease(f)
		_ = f.Close() // only read from
		if err == nil {
			return fields
		}
	}
	return nil
}

// Family returns the host's family, and "" for one that is none of the three.
func (h Host) Family() string {
	fields := h.OSRelease()
	for _, id := range append([]string{fields["ID"]}, strings.Fields(fields["ID_LIKE"])...) {
		switch id {
		case "debian", "ubuntu":
			return FamilyDebian
		case "arch", "archarm":
			return FamilyArch
		case "fedora", "rhel", "centos":
			return FamilyFedora
		}
	}
	return ""
}

// InstallHint returns the command that installs a package whose name differs by
// family. The entry for Debian stands for those that are not given.
func (h Host) InstallHint(packages map[string]string) string {
	family := h.Family()
	name := packages[family]
	if name == "" {
		name = packages[FamilyDebian]
	}
	if command := InstallCommand(family, name); command != "" {
		return command
	}
	return "install the package " + name
}

// InstallCommand is the command that installs packages on a host of a family,
// and "" when the family is none of the three.
func InstallCommand(family string, packages ...string) string {
	list := strings.Join(packages, " ")
	switch family {
	case FamilyDebian:
		return "apt-get install " + list
	case FamilyArch:
		return "pacman -S " + list
	case FamilyFedora:
		return "dnf install " + list
	}
	return ""
}

// Runs reports whether the host can run the programs of an architecture, itself
// or through an emulator that the kernel holds open, so that it is there inside
// a machine too (binfmt_misc, flag F).
func (h Host) Runs(machine string) bool { return h.Native(machine) || h.emulates(machine) }

// Native reports whether the kernel runs the architecture's programs itself.
func (h Host) Native(machine string) bool {
	is386 := func(name string) bool { return name == "i386" || name == "i686" }
	return machine == h.Machine || is386(machine) && (h.Machine == "x86_64" || is386(h.Machine))
}

// qemuNames maps what `uname -m` prints to the names of qemu's binfmt entries
// where they differ.
var qemuNames = map[string]string{"i686": "i386", "armv7l": "arm"}

func (h Host) emulates(machine string) bool {
	name := machine
	if other := qemuNames[machine]; other != "" {
		name = other
	}
	text, err := fs.ReadFile(h.Root, "proc/sys/fs/binfmt_misc/qemu-"+name)
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

// FilesOf are the files and directories that a request names: its keyring, and
// mirrors that are on this host. They are to be read where they are, also by a
// plugin that has a /tmp to itself. What is not there is left out.
func FilesOf(req Request) []string {
	var paths []string
	if req.Keyring != "" {
		paths = append(paths, req.Keyring)
	}
	for _, m := range req.Mirrors {
		for _, scheme := range []string{"file://", "copy://"} {
			if p, ok := strings.CutPrefix(m, scheme); ok {
				// What follows a variable of the tool's own is below it.
				p, _, _ = strings.Cut(p, "$")
				paths = append(paths, filepath.Clean("/"+p))
			}
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool {
		_, err := os.Stat(p)
		return err != nil // the plugin will say so in its own words
	})
}
