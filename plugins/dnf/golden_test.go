package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// twoKeys holds a key without end and one that has expired on 2025-06-01.
const (
	lastingKey = "54478B3B244C1519270F05CFEE5DAABEB782B390"
	expiredKey = "A78676DA5775D6892A72C3602DBE4F0A8E2D5BFF"
)

// debianHost is a Debian with a dnf of that version and a file of keys. Keys that
// the plugin pins are pinned to the one that does not expire, so that a request
// without a keyring can be resolved too.
func debianHost(t *testing.T, versions map[string]string) host {
	t.Helper()
	keys, err := os.ReadFile("testdata/two-keys.asc")
	if err != nil {
		t.Fatal(err)
	}
	return host{
		Host: sdk.Host{
			Root: fstest.MapFS{
				"etc/os-release":                       {Data: []byte("ID=debian\nVERSION_ID=13\n")},
				"etc/keys/own.asc":                     {Data: keys, Mode: 0o644},
				"etc/keys/bad.asc":                     {Data: []byte("hello"), Mode: 0o644},
				"proc/sys/fs/binfmt_misc/qemu-aarch64": {Data: []byte("enabled\nflags: OCF\n")},
			},
			Find: func(names ...string) string {
				for _, name := range names {
					if _, isDNF := versions[name]; isDNF || !strings.HasPrefix(name, "dnf") {
						return "/usr/bin/" + name
					}
				}
				return ""
			},
			Machine: "x86_64",
		},
		now:     func() time.Time { return time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC) },
		version: func(program string) string { return versions[program] },
	}
}

var (
	dnf414 = map[string]string{"dnf": "4.14.0"}
	dnf423 = map[string]string{"dnf": "4.23.0"}
	dnf5   = map[string]string{"dnf5": "dnf5 version 5.4.6.0", "dnf": "4.24.0"}
	only5  = map[string]string{"dnf5": "dnf5 version 5.2.16.0", "dnf": "dnf5 version 5.2.16.0"}
)

const ownKeyring = "/etc/keys/own.asc"

// TestCommandsAndConfigurationsAreAsAgreed is one golden file for each kind of
// request: every distribution, form of release, and version of the tool.
func TestCommandsAndConfigurationsAreAsAgreed(t *testing.T) {
	type request = sdk.Request
	for name, c := range map[string]struct {
		tools map[string]string
		req   request
	}{
		"fedora-dnf4.14":     {dnf414, request{Distro: "fedora", Release: "43"}},
		"fedora-dnf4.23":     {dnf423, request{Distro: "fedora", Release: "43"}},
		"fedora-dnf5":        {dnf5, request{Distro: "fedora", Release: "43"}},
		"fedora-only-dnf5":   {only5, request{Distro: "fedora", Release: "43"}},
		"fedora-dnf4-chosen": {dnf5, request{Distro: "fedora", Release: "43", Options: map[string]string{optionEngine: engineFour}}},
		"fedora-default":     {dnf5, request{Distro: "fedora"}},
		"fedora-rawhide":     {dnf5, request{Distro: "fedora", Release: "rawhide"}},
		"fedora-arm":         {dnf5, request{Distro: "fedora", Release: "43", Architecture: "aarch64"}},
		"fedora-everything": {dnf423, request{
			Distro: "fedora", Release: "43", Packages: []string{"git", "vim-enhanced"},
			Options: map[string]string{optionVariant: "standard", optionSignatures: "required"},
			Mirrors: []string{"http://mirror.example.org/$releasever/$basearch/os", "file:///srv/${releasever}"},
		}},
		"centos-10":    {dnf5, request{Distro: "centos"}},
		"centos-9":     {dnf414, request{Distro: "centos", Release: "9"}},
		"rocky-10":     {dnf5, request{Distro: "rocky", Release: "10"}},
		"rocky-9.6":    {dnf423, request{Distro: "rocky", Release: "9.6"}},
		"almalinux-10": {dnf5, request{Distro: "almalinux", Release: "10.0"}},
		"almalinux-9":  {dnf423, request{Distro: "almalinux", Release: "9"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.Keyring = ownKeyring
			j, found := debianHost(t, c.tools).resolve(c.req)
			if err := found.Err(); err != nil {
				t.Fatal(err)
			}
			j.place("TARGET", "WORK")
			var b strings.Builder
			for _, argv := range j.commands() {
				b.WriteString(strings.Join(argv, "\n    ") + "\n")
			}
			fmt.Fprintf(&b, "\n--- %s\n%s\n--- %s\n%s\n--- .rpmmacros\n%s", j.configPath(), j.config(), j.repositoryFile(), j.repositoryConfig(2), j.macros())
			sdktest.Golden(t, "golden/"+name+".golden", b.String())
		})
	}
}

// TestNoCheckOfSignaturesIsEverTurnedOff looks at all golden files.
func TestNoCheckOfSignaturesIsEverTurnedOff(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.golden")
	if err != nil || len(files) < 10 {
		t.Fatalf("there are %d golden files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		if slices.ContainsFunc(lines, func(l string) bool {
			return strings.Contains(l, "nogpgcheck") || strings.HasPrefix(l, "gpgcheck=") && l != "gpgcheck=1"
		}) {
			t.Errorf("%s turns it off", file)
		}
		if got, want := strings.Count(string(text), "\ngpgcheck=1\n"), 1+strings.Count(string(text), "\nenabled=1\n"); got != want {
			t.Errorf("%s: gpgcheck=1 is there %d times, want %d", file, got, want)
		}
	}
}

func TestWhatIsWrongIsSaidBeforeAnythingIsTouched(t *testing.T) {
	type request = sdk.Request
	mirror := func(address string) request {
		return request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Mirrors: []string{address}}
	}
	for name, c := range map[string]struct {
		tools map[string]string
		req   request
		field string
		says  string // in the message or the hint
	}{
		"another distro":             {dnf5, request{Distro: "suse"}, "distro", "fedora, centos"},
		"an old release":             {dnf5, request{Distro: "fedora", Release: "12", Keyring: ownKeyring}, "release", optionUnknown},
		"a hostile release":          {dnf5, request{Distro: "fedora", Release: "43\nx=y", Keyring: ownKeyring}, "release", "known here"},
		"an option for a release":    {dnf5, request{Distro: "fedora", Release: "--nogpgcheck", Keyring: ownKeyring}, "release", "known here"},
		"rawhide of another":         {dnf5, request{Distro: "rocky", Release: "rawhide", Keyring: ownKeyring}, "release", "known here"},
		"a minor release of Fedora":  {dnf5, request{Distro: "fedora", Release: "43.1", Keyring: ownKeyring}, "release", "no minor releases"},
		"no keys on the host":        {dnf5, request{Distro: "fedora", Release: "43"}, "keyring", "apt-get install distribution-gpg-keys"},
		"not a keyring":              {dnf5, request{Distro: "fedora", Release: "43", Keyring: "/etc/keys/bad.asc"}, "keyring", "not a keyring"},
		"no such keyring":            {dnf5, request{Distro: "fedora", Release: "43", Keyring: "/none"}, "keyring", "cannot be read"},
		"no dnf":                     {nil, request{Distro: "fedora", Release: "43", Keyring: ownKeyring}, "options.engine", "apt-get install dnf"},
		"a dnf that is mute":         {map[string]string{"dnf": ""}, request{Distro: "fedora", Release: "43", Keyring: ownKeyring}, "options.engine", "does not tell its version"},
		"no dnf5":                    {dnf423, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Options: map[string]string{optionEngine: engineFive}}, "options.engine", "dnf5"},
		"no dnf 4":                   {only5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Options: map[string]string{optionEngine: engineFour}}, "options.engine", "dnf 4"},
		"an unknown option":          {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Options: map[string]string{"x": "y"}}, "options", "engine, variant"},
		"an architecture":            {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Architecture: "s390x"}, "architecture", "s390x"},
		"an unknown architecture":    {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Architecture: "z80"}, "architecture", "x86_64"},
		"a mirror with an option":    {dnf5, mirror("--x"), "mirrors", "not a plain URL"},
		"a mirror with a newline":    {dnf5, mirror("http://a.example.org/\ngpgcheck=0"), "mirrors", "not a plain URL"},
		"a mirror with a space":      {dnf5, mirror("http://a.example.org/ http://b.example.org/"), "mirrors", "not a plain URL"},
		"a mirror with a password":   {dnf5, mirror("http://me:secret@a.example.org/"), "mirrors", "user name"},
		"a mirror with a variable":   {dnf5, mirror("http://a.example.org/$awsregion/"), "mirrors", "$releasever"},
		"a relative file":            {dnf5, mirror("file://srv/x"), "mirrors", "absolute path"},
		"a scheme that dnf lacks":    {dnf5, mirror("gopher://a.example.org/"), "mirrors", "scheme"},
		"a package with an option":   {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Packages: []string{"--nogpgcheck"}}, "packages", "--nogpgcheck"},
		"a package that is a file":   {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Packages: []string{"/root/evil.rpm"}}, "packages", "evil.rpm"},
		"a package from an address":  {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Packages: []string{"http://x/evil.rpm"}}, "packages", "evil.rpm"},
		"a package with a wild card": {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Packages: []string{"*"}}, "packages", "*"},
		"a relative target":          {dnf5, request{Distro: "fedora", Release: "43", Keyring: ownKeyring, Target: "x/y"}, "target", "x/y"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := debianHost(t, c.tools).resolve(c.req)
			for _, d := range found.Diagnostics() {
				if d.Severity == sdk.SeverityError && d.Field == c.field && strings.Contains(d.Message+"\n"+d.Hint, c.says) {
					if d.Hint == "" {
						t.Errorf("there is no hint with %q", d.Message)
					}
					return
				}
			}
			t.Errorf("no error of %s says %q: %+v", c.field, c.says, found.Diagnostics())
		})
	}
}

func TestAKeyThatHasExpiredIsNotTrusted(t *testing.T) {
	h := debianHost(t, dnf5)
	j, found := h.resolve(sdk.Request{Distro: "fedora", Release: "43", Keyring: ownKeyring})
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	valid, err := j.validKeys(h)
	if err != nil || len(valid) != 1 || valid[0].Fingerprint != lastingKey {
		t.Errorf("the keys are %+v, %v", valid, err)
	}
	if warnings := found.Diagnostics(); len(warnings) != 1 || !strings.Contains(warnings[0].Message, expiredKey+" has expired on 2025-06-01") {
		t.Errorf("the findings are %+v", warnings)
	}
	h.now = func() time.Time { return time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC) }
	if valid, err := j.validKeys(h); err != nil || len(valid) != 2 {
		t.Errorf("before it expires the keys are %+v, %v", valid, err)
	}
}

func TestAKeyIsTakenByItsFingerprintAlone(t *testing.T) {
	h := debianHost(t, dnf5)
	if key, ok := h.pinned(pin{lastingKey, []string{"/none", ownKeyring}}); !ok || key.Fingerprint != lastingKey {
		t.Errorf("it is %v, %t", key.Fingerprint, ok)
	}
	if key, ok := h.pinned(pin{strings.Repeat("0", 40), []string{ownKeyring}}); ok {
		t.Errorf("%s is taken for another", key.Fingerprint)
	}
}

func TestEveryReleaseHasKeysThatLookLikeOnes(t *testing.T) {
	for _, d := range known {
		if !slices.Contains(d.releases, d.standard) {
			t.Errorf("%s: the default %s is no release", d.name, d.standard)
		}
		for _, release := range d.releases {
			pins := d.pins[release]
			if len(pins) == 0 {
				t.Errorf("%s %s has no key", d.name, release)
			}
			for _, p := range pins {
				if len(p.fingerprint) != 40 || strings.Trim(p.fingerprint, "0123456789ABCDEF") != "" || len(p.files) == 0 {
					t.Errorf("%s %s: %+v is no pin", d.name, release, p)
				}
			}
		}
	}
}
