package main

import (
	"path"
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

const ownMirrorlist = `## Of the host
#Server = https://commented.example.org/$repo/os/$arch
Server = https://one.example.org/arch/$repo/os/$arch
 Server=http://two.example.org/$repo/os/$arch
Server = https://me:secret@three.example.org/$repo/os/$arch
Include = /etc/pacman.d/other
`

// debianHost is a Debian with all tools and keys, and with more files.
func debianHost(more ...file) host {
	return madeHost("ID=debian\n", append([]file{{"usr/share/keyrings/archlinux.gpg", aKey}}, more...))
}

// archHost is an Arch Linux with all tools and keys, and mirrors of its own.
func archHost(more ...file) host {
	return madeHost("ID=arch\n", append([]file{
		{"usr/share/pacman/keyrings/archlinux.gpg", aKey},
		{"etc/pacman.d/mirrorlist", ownMirrorlist},
	}, more...))
}

// fedoraHost is a Fedora with all tools and keys.
func fedoraHost(more ...file) host {
	return madeHost("ID=fedora\n", append([]file{{"usr/share/pacman/keyrings/archlinux.gpg", aKey}}, more...))
}

func madeHost(release string, files []file) host {
	files = append([]file{
		{"etc/os-release", release}, {"etc/mtab", ""}, {"etc/keys/own.asc", aKey},
	}, files...)
	root := fstest.MapFS{}
	for _, f := range files {
		root[f.name] = &fstest.MapFile{Data: []byte(f.content), Mode: 0o644}
	}
	return host{
		Host: sdk.Host{
			Root:    root,
			Find:    func(names ...string) string { return "/usr/bin/" + names[0] },
			Machine: x86,
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

// withEmulator is a host that can run programs for aarch64 too.
func withEmulator(more ...file) host {
	return debianHost(append(more,
		file{"proc/sys/fs/binfmt_misc/qemu-aarch64", "enabled\nflags: F\n"},
		file{"usr/share/keyrings/archlinuxarm.gpg", aKey})...)
}

func TestForeignArchitecturesNeedAnEmulatorThatIsHeldOpen(t *testing.T) {
	armHost := debianHost()
	armHost.Machine = arm
	for name, c := range map[string]struct {
		host host
		want []string
	}{
		"x86-64": {debianHost(), []string{x86}}, "with an emulator": {withEmulator(), []string{x86, arm}}, "arm": {armHost, []string{arm}},
	} {
		if diff := cmp.Diff(c.want, c.host.architectures()); diff != "" {
			t.Errorf("%s: architectures differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnArchHostUsesTheMirrorsThatItUses(t *testing.T) {
	manjaro := archHost(file{"etc/os-release", "ID=manjaro\nID_LIKE=arch\n"})
	for name, c := range map[string]struct {
		host host
		req  sdk.Request
		want []string
	}{
		"arch":             {archHost(), sdk.Request{}, []string{"https://one.example.org/arch/$repo/os/$arch", "http://two.example.org/$repo/os/$arch"}},
		"named":            {archHost(), sdk.Request{Mirrors: []string{"http://a.example.org/$repo"}}, []string{"http://a.example.org/$repo"}},
		"of a day":         {archHost(), sdk.Request{Release: "2024/02/29"}, []string{"https://archive.archlinux.org/repos/2024/02/29/$repo/os/$arch"}},
		"not Arch itself":  {manjaro, sdk.Request{}, []string{defaultMirror}},
		"debian":           {debianHost(), sdk.Request{}, []string{defaultMirror}},
		"arm":              {withEmulator(), sdk.Request{Architecture: arm}, []string{armMirror}},
		"the same, thrice": {debianHost(), sdk.Request{Mirrors: []string{"http://a.example.org/$repo", "http://a.example.org/$repo"}}, []string{"http://a.example.org/$repo"}},
	} {
		c.req.Distro = distro
		j, found := c.host.resolve(c.req)
		if err := found.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, j.mirrors); diff != "" {
			t.Errorf("%s: mirrors differ (-want +got):\n%s", name, diff)
		}
	}
}

// withoutKeys is a host that lacks the distribution's keyring.
func (h host) withoutKeys() host {
	root := fstest.MapFS{}
	if files, ok := h.Root.(fstest.MapFS); ok {
		for name, content := range files {
			if path.Base(name) != "archlinux.gpg" {
				root[name] = content
			}
		}
	}
	h.Root = root
	return h
}

func withoutMtab(t *testing.T, h host) fstest.MapFS {
	t.Helper()
	root := fstest.MapFS{}
	files, ok := h.Root.(fstest.MapFS)
	if !ok {
		t.Fatal("the host is not made for a test")
	}
	for name, content := range files {
		if name != "etc/mtab" {
			root[name] = content
		}
	}
	return root
}
