package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func option(key, value string) map[string]string { return map[string]string{key: value} }

func mirror(uri string) sdk.Request { return sdk.Request{Mirrors: []string{uri}} }

func packages(name string) sdk.Request { return sdk.Request{Packages: []string{name}} }

// TestWhatIsWrongIsSaidBeforeAnythingIsTouched lists what users get wrong, the
// field that is blamed, what the message says of the value, and what would do.
func TestWhatIsWrongIsSaidBeforeAnythingIsTouched(t *testing.T) {
	noKeys := func(h host) host { return h.withoutKeys() }
	for name, c := range map[string]struct {
		host              host
		req               sdk.Request
		field, says, hint string
	}{
		"unknown distro":        {debianHost(), sdk.Request{Distro: "manjaro"}, "distro", `"manjaro"`, "use arch"},
		"unknown release":       {debianHost(), sdk.Request{Release: "stable"}, "release", `"stable"`, "rolling, or a day such as 2026/10/23"},
		"release with dashes":   {debianHost(), sdk.Request{Release: "2024-02-29"}, "release", "nor a day", "2026/10/23"},
		"release with a path":   {debianHost(), sdk.Request{Release: "2024/../01"}, "release", "nor a day", "rolling"},
		"release with newline":  {debianHost(), sdk.Request{Release: "2024/02/29\n"}, "release", "nor a day", "rolling"},
		"no day":                {debianHost(), sdk.Request{Release: "2023/02/29"}, "release", "no day of the calendar", "rolling"},
		"tomorrow":              {debianHost(), sdk.Request{Release: "2026/11/24"}, "release", "in the future", "rolling"},
		"before the archive":    {debianHost(), sdk.Request{Release: "2013/08/30"}, "release", "2013/08/31", "rolling"},
		"no archive of arm":     {withEmulator(), sdk.Request{Release: "2024/02/29", Architecture: arm}, "release", arm, "rolling"},
		"architecture":          {debianHost(), sdk.Request{Architecture: "armv7l"}, "architecture", `"armv7l"`, "use x86_64"},
		"foreign architecture":  {debianHost(file{"usr/share/keyrings/archlinuxarm.gpg", aKey}), sdk.Request{Architecture: arm}, "architecture", `"aarch64"`, "qemu-user-static"},
		"mirror as an option":   {debianHost(), mirror("--help"), "mirrors", `"--help"`, "$repo/os/$arch"},
		"mirror with a space":   {debianHost(), mirror("http://a.example.org/$repo x"), "mirrors", "plain", "single quotes"},
		"mirror with newline":   {debianHost(), mirror("http://a.example.org/$repo\nSigLevel = Never"), "mirrors", "plain", "single quotes"},
		"mirror with percent":   {debianHost(), mirror("http://a.example.org/%2e%2e/$repo"), "mirrors", "plain", "single quotes"},
		"mirror with a shell":   {debianHost(), mirror("http://a.example.org/$repo/$(id)"), "mirrors", "variable", "single quotes"},
		"mirror with a query":   {debianHost(), mirror("http://a.example.org/$repo?x"), "mirrors", "plain", "single quotes"},
		"mirror with a login":   {debianHost(), mirror("http://me:secret@a.example.org/$repo"), "mirrors", "user name", "single quotes"},
		"mirror of no scheme":   {debianHost(), mirror("a.example.org/$repo"), "mirrors", "begins with none", "https://"},
		"mirror of ftp":         {debianHost(), mirror("ftp://a.example.org/$repo"), "mirrors", "begins with none", "https://"},
		"mirror upwards":        {debianHost(), mirror("http://a.example.org/../$repo"), "mirrors", "one place", "single quotes"},
		"mirror as a file":      {debianHost(), mirror("file://srv/$repo"), "mirrors", "file:///PATH", "single quotes"},
		"mirror of no host":     {debianHost(), mirror("http:///$repo"), "mirrors", "names no host", "single quotes"},
		"mirror, host replaced": {debianHost(), mirror("http://$repo.example.org/"), "mirrors", "one place", "single quotes"},
		"base URL":              {debianHost(), mirror("https://a.example.org/arch/"), "mirrors", "no $repo", "'https://a.example.org/arch/$repo/os/$arch'"},
		"variables eaten":       {debianHost(), mirror("https://a.example.org//os/"), "mirrors", "no $repo", "single quotes"},
		"mirror of another day": {
			debianHost(),
			sdk.Request{Release: "2024/02/29", Mirrors: []string{"https://a.example.org/2024/03/01/$repo"}},
			"mirrors", `"2024/02/29"`, "archive.archlinux.org/repos/2024/02/29/",
		},
		"package as an option":   {debianHost(), packages("--dbonly"), "packages", `"--dbonly"`, "git"},
		"package with a space":   {debianHost(), packages("git vim"), "packages", `"git vim"`, "git"},
		"package as a file":      {debianHost(), packages("/root/x.pkg.tar.zst"), "packages", `"/root/x.pkg.tar.zst"`, "git"},
		"package as a URL":       {debianHost(), packages("http://a.example.org/x.pkg.tar.zst"), "packages", "not the name", "git"},
		"package with newline":   {debianHost(), packages("git\nvim"), "packages", `"git vim"`, "git"},
		"package, hidden":        {debianHost(), packages(".git"), "packages", `".git"`, "git"},
		"package of elsewhere":   {debianHost(), packages("multilib/wine"), "packages", "not used", "core, extra"},
		"unknown option":         {debianHost(), sdk.Request{Options: option("speed", "fast")}, "options", `"speed"`, "variant, database-signatures"},
		"wrong variant":          {debianHost(), sdk.Request{Options: option(optionVariant, "huge")}, "options.variant", `"huge"`, "minimal, standard"},
		"keyring missing":        {debianHost(), sdk.Request{Keyring: "/none.gpg"}, "keyring", "cannot be read", "gpg --export"},
		"keyring relative":       {debianHost(), sdk.Request{Keyring: "own.gpg"}, "keyring", "absolute", "gpg --export"},
		"keyring of text":        {debianHost(), sdk.Request{Keyring: "/etc/os-release"}, "keyring", "not a keyring", "gpg --export"},
		"no keys on debian":      {noKeys(debianHost()), sdk.Request{}, "keyring", "/usr/share/keyrings/archlinux.gpg", "apt-get install archlinux-keyring"},
		"no keys on arch":        {noKeys(archHost()), sdk.Request{}, "keyring", "/usr/share/pacman/keyrings/archlinux.gpg", "pacman -S archlinux-keyring"},
		"no keys on fedora":      {noKeys(fedoraHost()), sdk.Request{}, "keyring", "/usr/share/pacman/keyrings/archlinux.gpg", "dnf install archlinux-keyring"},
		"no keys of arm":         {debianHost(file{"proc/sys/fs/binfmt_misc/qemu-aarch64", "enabled\nflags: F\n"}), sdk.Request{Architecture: arm}, "keyring", "archlinuxarm.gpg", "--keyring"},
		"no pacstrap on debian":  {debianHost().without("pacstrap"), sdk.Request{}, "distro", "pacstrap is not", "apt-get install arch-install-scripts"},
		"no pacman on debian":    {debianHost().without("pacman"), sdk.Request{}, "distro", "pacman is not", "apt-get install pacman-package-manager"},
		"no pacman-key, debian":  {debianHost().without("pacman-key"), sdk.Request{}, "distro", "pacman-key is not", "apt-get install makepkg"},
		"no pacstrap on arch":    {archHost().without("pacstrap"), sdk.Request{}, "distro", "pacstrap is not", "pacman -S arch-install-scripts"},
		"no pacman-key, fedora":  {fedoraHost().without("pacman-key"), sdk.Request{}, "distro", "pacman-key is not", "dnf install pacman"},
		"no gpg on fedora":       {fedoraHost().without("gpg"), sdk.Request{}, "distro", "gpg is not", "dnf install gnupg2"},
		"target with a newline":  {debianHost(), sdk.Request{Target: "/srv/a\nSigLevel = Never"}, "target", "characters", "letters"},
		"work not clean":         {debianHost(), sdk.Request{WorkDirectory: "/srv/../etc"}, "work_directory", "characters", "letters"},
		"cache ends with spaces": {debianHost(), sdk.Request{CacheDirectory: "/srv/cache "}, "cache_directory", "characters", "letters"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.req.Distro == "" {
				c.req.Distro = distro
			}
			v, err := (&plugin{host: c.host}).Validate(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			var errors []sdk.Diagnostic
			for _, d := range v.Diagnostics {
				if d.Severity == sdk.SeverityError {
					errors = append(errors, d)
				}
			}
			if len(errors) != 1 {
				t.Fatalf("the errors are %+v, want one", errors)
			}
			d := errors[0]
			if d.Field != c.field || !strings.Contains(d.Message, c.says) || !strings.Contains(d.Hint, c.hint) {
				t.Errorf("got %+v, want field %q, a message with %q and a hint with %q", d, c.field, c.says, c.hint)
			}
			if strings.ContainsAny(d.Message+d.Hint, "\n\x1b") {
				t.Errorf("%+v is not one line", d)
			}
		})
	}
}

func TestAHostThatIsNotReadyIsNotTheUsersFault(t *testing.T) {
	for name, h := range map[string]host{
		"no tool": debianHost().without("pacstrap"),
		"no keys": debianHost().withoutKeys(),
	} {
		_, err := (&plugin{host: h}).Bootstrap(t.Context(), sdk.Request{Distro: distro}, &sdktest.Recorder{})
		if failure := sdk.AsFailure(err); failure.Code != sdk.CodeHostNotReady || failure.Hint == "" {
			t.Errorf("%s: %+v is not a host that is not ready", name, failure)
		}
	}
}

func TestWhatIsLeftOutGetsADefault(t *testing.T) {
	p := &plugin{host: debianHost()}
	v, err := p.Validate(t.Context(), sdk.Request{Distro: distro})
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Request{
		Distro: distro, Release: rolling, Architecture: x86, Mirrors: []string{defaultMirror},
		Keyring: "/usr/share/keyrings/archlinux.gpg",
		Options: map[string]string{optionVariant: "minimal", optionDatabases: "optional"},
	}
	if diff := cmp.Diff(want, v.Resolved); diff != "" {
		t.Errorf("resolved differs (-want +got):\n%s", diff)
	}
	again, err := p.Validate(t.Context(), v.Resolved)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, again); diff != "" {
		t.Errorf("validating what is resolved changes it (-want +got):\n%s", diff)
	}
}

func TestMirrorsOfThisHostOnlyAreWarnedAbout(t *testing.T) {
	for uri, warned := range map[string]bool{
		"file:///srv/$repo": true, "http://127.0.0.1:8080/$repo": true, "http://[::1]/$repo": true, "http://localhost/$repo": true,
		"https://a.example.org/$repo": false, "http://192.0.2.1/$repo": false,
	} {
		req := mirror(uri)
		req.Distro = distro
		_, found := debianHost().resolve(req)
		if got := len(found.Diagnostics()) == 1; got != warned || found.Err() != nil {
			t.Errorf("%s: the findings are %+v", uri, found.Diagnostics())
		}
	}
}

func TestDescribeNamesWhatIsNeededOnEachFamily(t *testing.T) {
	d, err := sdktest.Start(t, &plugin{host: debianHost()}).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.Distro{{Name: distro, Title: "Arch Linux", Releases: []string{rolling}, DefaultRelease: rolling, Architectures: []string{x86}}}
	if diff := cmp.Diff(want, d.Distros); diff != "" {
		t.Errorf("distros differ (-want +got):\n%s", diff)
	}
	for _, need := range d.Tools {
		for _, family := range []string{sdk.FamilyDebian, sdk.FamilyArch, sdk.FamilyFedora} {
			if need.Packages[family] == "" {
				t.Errorf("%v is of no package on %s", need.AnyOf, family)
			}
		}
	}
}

func FuzzResolveNeverLetsAnOptionThrough(f *testing.F) {
	for _, seed := range []string{"rolling", "2024/02/29", "-x", "http://a.example.org/$repo", "git", "a b", "x\n", "$(id)", "..", "%"} {
		f.Add(seed, seed, seed)
	}
	h := debianHost()
	f.Fuzz(func(t *testing.T, release, uri, name string) {
		req := sdk.Request{Distro: distro, Release: release, Mirrors: []string{uri}, Packages: []string{name}}
		j, found := h.resolve(req)
		if found.Err() != nil {
			return
		}
		j.place("/target", "/work")
		for _, argv := range j.commands() {
			for i, argument := range argv {
				if strings.ContainsAny(argument, "\n\r\x00\"'`$\\ ;&|<>") {
					t.Errorf("%q in %q", argument, argv)
				}
				if argv[0] == "pacstrap" && i > 6 && strings.HasPrefix(argument, "-") {
					t.Errorf("an option in %q", argv)
				}
			}
		}
		for line := range strings.Lines(j.pacmanConf() + j.mirrorList()) {
			key, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if key == "Server" && !strings.Contains(line, "$repo") {
				t.Errorf("%q is no mirror", line)
			}
		}
		if strings.Count(j.pacmanConf(), "\n") != 17+1 {
			t.Errorf("lines were injected:\n%s", j.pacmanConf())
		}
	})
}
