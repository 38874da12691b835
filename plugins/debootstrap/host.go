package main

import (
	"slices"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// host is what the plugin asks of the host it runs on before it does anything.
type host struct {
	sdk.Host

	now func() time.Time
}

func thisHost() host { return host{Host: sdk.ThisHost(), now: time.Now} }

func (h host) releases(distro string) release.Known {
	return release.Read(h.Root, distro, h.now())
}

// archive finds where the host gets distro from, if it is of that distribution
// itself.
func (h host) archive(distro string) aptsource.Archive {
	fields := h.OSRelease()
	if fields["ID"] != distro {
		return aptsource.Archive{}
	}
	suites := []string{fields["VERSION_CODENAME"]}
	if distro == release.Debian {
		suites = append(suites, "stable", "testing", "unstable", "sid", "oldstable")
	}
	suites = slices.DeleteFunc(suites, func(suite string) bool { return suite == "" })
	return aptsource.FindArchive(aptsource.ReadHost(h.Root), distro, suites)
}

// debianArchitectures maps what `uname -m` prints to Debian's names.
var debianArchitectures = map[string]string{
	"x86_64": "amd64", "aarch64": "arm64", "i386": "i386", "i686": "i386", "armv7l": "armhf",
	"riscv64": "riscv64", "ppc64le": "ppc64el", "s390x": "s390x", "loongarch64": "loong64",
}

// architectures lists what the host can run, its own first.
func (h host) architectures() []string {
	var others []string
	for machine := range debianArchitectures {
		if machine != h.Machine && machine != "i386" && h.Runs(machine) {
			others = append(others, machine)
		}
	}
	slices.Sort(others)
	return append([]string{h.Machine}, others...)
}
