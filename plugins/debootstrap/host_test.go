package main

import (
	"maps"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// file is a file of a host made for a test.
type file struct{ name, content string }

// aKey is enough of a keyring: the tag of a public key packet.
const aKey = "\x99\x01\x0d not really a key"

const debianSources = `Types: deb
# a comment
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`

const debianTable = `version,codename,series,created,release,eol,eol-lts,eol-elts
10,Buster,buster,2017-06-17,2019-07-06,2022-09-10,2024-06-30,2029-06-30
12,Bookworm,bookworm,2021-08-14,2023-06-10,2026-07-11,2028-06-30,2033-06-30
13,Trixie,trixie,2023-06-10,2025-08-09,2028-08-09,2030-06-30,2035-06-30
14,Forky,forky,2025-08-09
15,Duke,duke,2027-08-01
,Sid,sid,1993-08-16
,Experimental,experimental,1993-08-16
`

const ubuntuTable = `version,codename,series,created,release,eol,eol-server,eol-esm,eol-legacy
22.04 LTS,Jammy Jellyfish,jammy,2021-10-14,2022-04-21,2027-06-01,2027-06-01,2032-04-21,2034-04-25
24.04 LTS,Noble Numbat,noble,2023-10-12,2024-04-25,2029-05-31,2029-05-31,2034-04-25,2036-04-29
25.10,Questing Quokka,questing,2025-04-17,2025-10-09,2026-07-09
26.04 LTS,Resolute Raccoon,resolute,2025-10-09,2026-04-23,2031-05-29,2031-05-29,2036-04-23,2038-04-27
`

// debianHost is a Debian 12 with all tools and keys, and with more files.
func debianHost(more ...file) host {
	files := append([]file{
		{"etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n"},
		{"etc/apt/sources.list.d/debian.sources", debianSources},
		{"usr/share/distro-info/debian.csv", debianTable},
		{"usr/share/distro-info/ubuntu.csv", ubuntuTable},
		{"usr/share/keyrings/debian-archive-keyring.gpg", aKey},
		{"usr/share/keyrings/ubuntu-archive-keyring.gpg", aKey},
		{"etc/keys/own.asc", aKey},
	}, more...)
	root := fstest.MapFS{}
	for _, f := range files {
		root[f.name] = &fstest.MapFile{Data: []byte(f.content), Mode: 0o644}
	}
	return host{
		Host: sdk.Host{
			Root:    root,
			Find:    func(names ...string) string { return "/usr/bin/" + names[0] },
			Machine: "x86_64",
		},
		now: func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
	}
}

// without is a host that lacks tools.
func (h host) without(tools ...string) host {
	h.Find = func(names ...string) string {
		for _, name := range names {
			if !slices.Contains(tools, name) {
				return "/usr/bin/" + name
			}
		}
		return ""
	}
	return h
}

// withoutFiles is a host that lacks files.
func (h host) withoutFiles(names ...string) host {
	root := fstest.MapFS{}
	if files, ok := h.Root.(fstest.MapFS); ok {
		root = maps.Clone(files)
	}
	for _, name := range names {
		delete(root, name)
	}
	h.Root = root
	return h
}

func TestForeignArchitecturesNeedAnEmulatorThatIsHeldOpen(t *testing.T) {
	entry := func(text string) host {
		return debianHost(file{"proc/sys/fs/binfmt_misc/qemu-aarch64", text})
	}
	for name, c := range map[string]struct {
		host host
		want []string
	}{
		"none":       {debianHost(), []string{"x86_64", "i686"}},
		"held open":  {entry("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\n"), []string{"x86_64", "aarch64", "i686"}},
		"by path":    {entry("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: \n"), []string{"x86_64", "i686"}},
		"turned off": {entry("disabled\nflags: F\n"), []string{"x86_64", "i686"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.host.architectures()); diff != "" {
				t.Errorf("architectures differ (-want +got):\n%s", diff)
			}
		})
	}
}
