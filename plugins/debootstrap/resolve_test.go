package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func option(key, value string) map[string]string { return map[string]string{key: value} }

// TestWhatIsWrongIsSaidBeforeAnythingIsTouched lists what users get wrong, the
// field that is blamed, what the message says of the value, and what would do.
func TestWhatIsWrongIsSaidBeforeAnythingIsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		host              host
		req               sdk.Request
		field, says, hint string
	}{
		"unknown distro":       {debianHost(), sdk.Request{Distro: "gentoo"}, "distro", `"gentoo"`, "debian, ubuntu"},
		"unknown release":      {debianHost(), sdk.Request{Release: "nosuch"}, "release", `"nosuch"`, "forky, trixie, bookworm"},
		"release as an option": {debianHost(), sdk.Request{Release: "--help"}, "release", `"--help"`, "trixie"},
		"release with a path":  {debianHost(), sdk.Request{Release: "../../etc"}, "release", "not the name", "trixie"},
		"release with newline": {debianHost(), sdk.Request{Release: "trixie\nURIs: x"}, "release", "not the name", "trixie"},
		"release with a quote": {debianHost(), sdk.Request{Release: `tri"xie`}, "release", "not the name", "trixie"},
		"release too old":      {debianHost(), sdk.Request{Release: "wheezy"}, "release", "too old", "trixie"},
		"hostile release allowed": {
			debianHost(),
			sdk.Request{Release: "a$(id)", Options: option(optionUnknown, "allow")},
			"release", "not the name", "trixie",
		},
		"experimental":        {debianHost(), sdk.Request{Release: "experimental"}, "release", `"experimental"`, "sid"},
		"architecture":        {debianHost(), sdk.Request{Architecture: "aarch64"}, "architecture", `"aarch64"`, "qemu-user-static"},
		"no architecture":     {debianHost(), sdk.Request{Architecture: "-x"}, "architecture", `"-x"`, "x86_64, i686"},
		"mirror as an option": {debianHost(), sdk.Request{Mirrors: []string{"-oDir=/"}}, "mirrors", `"-oDir=/"`, "https://"},
		"mirror with a space": {debianHost(), sdk.Request{Mirrors: []string{"http://a.example.org/ x"}}, "mirrors", "plain", "https://"},
		"mirror with newline": {debianHost(), sdk.Request{Mirrors: []string{"http://a.example.org/\nTrusted: yes"}}, "mirrors", "plain", "https://"},
		"mirror with a shell": {debianHost(), sdk.Request{Mirrors: []string{"http://a.example.org/$(id)"}}, "mirrors", "plain", "https://"},
		"mirror with a login": {debianHost(), sdk.Request{Mirrors: []string{"http://me:secret@a.example.org/"}}, "mirrors", "user name", "https://"},
		"mirror of no scheme": {debianHost(), sdk.Request{Mirrors: []string{"a.example.org/debian"}}, "mirrors", "begins with none", "https://"},
		"empty local mirror":  {debianHost(), sdk.Request{Mirrors: []string{"file:///srv/none"}}, "mirrors", "no release", "/srv/none/dists/trixie/InRelease"},
		"package as an option": {
			debianHost(), sdk.Request{Packages: []string{"-o=Dir::x"}}, "packages", `"-o=Dir::x"`, "git",
		},
		"package to remove":    {debianHost(), sdk.Request{Packages: []string{"apt-"}}, "packages", `"apt-"`, "git"},
		"package as a pattern": {debianHost(), sdk.Request{Packages: []string{"?essential"}}, "packages", `"?essential"`, "git"},
		"package with a comma": {debianHost(), sdk.Request{Packages: []string{"git,vim"}}, "packages", `"git,vim"`, "git"},
		"package as a file":    {debianHost(), sdk.Request{Packages: []string{"/root/x.deb"}}, "packages", `"/root/x.deb"`, "git"},
		"package of a suite":   {debianHost(), sdk.Request{Packages: []string{"git/sid"}}, "packages", `"git/sid"`, "git"},
		"package with newline": {debianHost(), sdk.Request{Packages: []string{"git\nvim"}}, "packages", `"git vim"`, "git"},
		"unknown option":       {debianHost(), sdk.Request{Options: option("speed", "fast")}, "options", `"speed"`, "engine, variant"},
		"wrong engine":         {debianHost(), sdk.Request{Options: option(optionEngine, "dnf")}, "options.engine", `"dnf"`, "auto, mmdebstrap"},
		"component as a shell": {
			debianHost(), sdk.Request{Options: option(optionComponents, "main,$(id)")}, "options.components", `"$(id)"`, "main,contrib",
		},
		"security mirror": {
			debianHost(), sdk.Request{Options: option(optionSecurity, "yes")}, "options.security-mirror", `"yes"`, "auto, none",
		},
		"keyring missing":  {debianHost(), sdk.Request{Keyring: "/none.gpg"}, "keyring", "cannot be read", "gpg --export"},
		"keyring relative": {debianHost(), sdk.Request{Keyring: "own.gpg"}, "keyring", "absolute", "gpg --export"},
		"keyring of a keybox": {
			debianHost(file{"etc/keys/box", "\x00\x00\x00\x20\x01\x01\x00\x02KBXf\x00\x00"}),
			sdk.Request{Keyring: "/etc/keys/box"},
			"keyring", "keybox", "gpg --export",
		},
		"keyring of text": {debianHost(), sdk.Request{Keyring: "/etc/os-release"}, "keyring", "not a keyring", "gpg --export"},
		"no keys of ubuntu": {
			debianHost(file{"usr/share/keyrings/ubuntu-archive-keyring.gpg", ""}),
			sdk.Request{Distro: "ubuntu"},
			"keyring", "not on this host", "apt-get install ubuntu-keyring",
		},
		"no tool": {debianHost().without(engineMmdebstrap, engineDebootstrap), sdk.Request{}, "options.engine", "mmdebstrap is not", "apt-get install mmdebstrap"},
		"tool without wget": {
			debianHost().without(engineMmdebstrap, "wget"), sdk.Request{}, "options.engine", "wget is not", "apt-get install wget",
		},
		"target for a shell": {debianHost(), sdk.Request{Target: `/srv/a"$(id)"`}, "target", "characters", "letters"},
		"work not clean":     {debianHost(), sdk.Request{WorkDirectory: "/srv/../etc"}, "work_directory", "characters", "letters"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.req.Distro == "" {
				c.req.Distro = "debian"
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
		"no tool": debianHost().without(engineMmdebstrap, engineDebootstrap),
		"no keys": debianHost(file{"usr/share/keyrings/debian-archive-keyring.gpg", ""}),
	} {
		_, err := (&plugin{host: h}).Bootstrap(t.Context(), sdk.Request{Distro: "debian"}, &sdktest.Recorder{})
		if failure := sdk.AsFailure(err); failure.Code != sdk.CodeHostNotReady || failure.Hint == "" {
			t.Errorf("%s: %+v is not a host that is not ready", name, failure)
		}
	}
}

func TestWhatIsLeftOutGetsADefault(t *testing.T) {
	p := &plugin{host: debianHost()}
	v, err := p.Validate(t.Context(), sdk.Request{Distro: "debian"})
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Request{
		Distro: "debian", Release: "trixie", Architecture: "x86_64",
		Mirrors: []string{"http://mirror.example.org/debian", "http://mirror.example.org/debian-security"},
		Keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
		Options: map[string]string{
			optionEngine: engineMmdebstrap, optionVariant: "minimal", optionComponents: "main",
			optionUpdates: "on", optionSecurity: "auto", optionUnknown: "refuse",
		},
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

func TestTheOtherToolIsUsedWhereThePreferredIsMissing(t *testing.T) {
	for _, c := range []struct {
		host host
		want string
	}{
		{debianHost(), engineMmdebstrap},
		{debianHost().without(engineMmdebstrap), engineDebootstrap},
		{debianHost().without(engineDebootstrap), engineMmdebstrap},
	} {
		j, found := c.host.resolve(sdk.Request{Distro: "debian"})
		if j.engine != c.want || len(found.Diagnostics()) != 0 {
			t.Errorf("the engine is %s with %+v, want %s", j.engine, found.Diagnostics(), c.want)
		}
	}
}

func TestAReleaseNewerThanTheHostCanBeHad(t *testing.T) {
	for name, c := range map[string]struct {
		host host
		req  sdk.Request
	}{
		"by option": {debianHost(), sdk.Request{Distro: "debian", Release: "zurg", Options: option(optionUnknown, "allow")}},
		"from a local mirror": {
			debianHost(file{"srv/debian/dists/zurg/InRelease", ""}),
			sdk.Request{Distro: "debian", Release: "zurg", Mirrors: []string{"file:///srv/debian"}},
		},
		"on a host that knows none": {
			debianHost().withoutFiles("usr/share/distro-info/debian.csv"),
			sdk.Request{Distro: "debian", Release: "duke"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, found := c.host.resolve(c.req); found.Err() != nil {
				t.Error(found.Err())
			}
		})
	}
}

func TestTheResolverIsInstalledWhereItIsAPackageOfItsOwn(t *testing.T) {
	for suite, want := range map[string]bool{
		"trixie": true, "bookworm": true, "sid": true, "stable": true, "forky": true, "buster": false,
	} {
		j, _ := debianHost().resolve(sdk.Request{Distro: "debian", Release: suite})
		got := strings.Contains(strings.Join(j.packages, " "), "systemd-resolved")
		if got != want {
			t.Errorf("%s: systemd-resolved among %v: %v, want %v", suite, j.packages, got, want)
		}
	}
}

func TestDescribeListsWhatTheHostKnows(t *testing.T) {
	d, err := sdktest.Start(t, &plugin{host: debianHost()}).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.Distro{
		{
			Name: "debian", Title: "Debian", DefaultRelease: "trixie", Architectures: []string{"x86_64", "i686"},
			Releases: []string{"sid", "forky", "trixie", "bookworm", "stable", "testing", "unstable", "oldstable"},
		},
		{
			Name: "ubuntu", Title: "Ubuntu", DefaultRelease: "resolute", Architectures: []string{"x86_64", "i686"},
			Releases: []string{"resolute", "noble", "jammy"},
		},
	}
	if diff := cmp.Diff(want, d.Distros); diff != "" {
		t.Errorf("distros differ (-want +got):\n%s", diff)
	}
}

func FuzzResolveNeverLetsAnOptionThrough(f *testing.F) {
	for _, seed := range []string{"trixie", "-x", "http://a.example.org/debian", "git", "a b", "x\n", "$(id)", "`id`", "..", "%"} {
		f.Add(seed, seed, seed, seed)
	}
	h := debianHost()
	f.Fuzz(func(t *testing.T, release, mirror, name, component string) {
		req := sdk.Request{
			Distro: "debian", Release: release, Mirrors: []string{mirror}, Packages: []string{name},
			Options: map[string]string{optionUnknown: "allow", optionComponents: component},
		}
		for _, engine := range []string{engineMmdebstrap, engineDebootstrap} {
			req.Options[optionEngine] = engine
			plan, err := (&plugin{host: h}).Plan(t.Context(), req)
			if err != nil {
				continue
			}
			for _, argv := range plan.Commands {
				for _, argument := range argv {
					if strings.ContainsAny(argument, "\n\r\x00\"'`$\\ ;&|<>") {
						t.Errorf("%q in %q", argument, argv)
					}
				}
			}
			if slicesHasOption(plan.Packages) {
				t.Errorf("an option among %q", plan.Packages)
			}
		}
	})
}

func slicesHasOption(values []string) bool {
	for _, v := range values {
		if strings.HasPrefix(v, "-") {
			return true
		}
	}
	return false
}
