package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// asArchive shows what matters of an archive.
func asArchive(a archive) []string {
	shown := []string{a.uri, a.key.path, a.security, a.securityKey.path}
	if a.updates {
		shown = append(shown, "updates")
	}
	if a.askSecurity {
		shown = append(shown, "ask for security")
	}
	if a.ofHost {
		shown = append(shown, "of the host")
	}
	return shown
}

const (
	debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	ubuntuKeys = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
)

func TestMirrorsAreTheUsersThenTheHostsThenTheTools(t *testing.T) {
	corporate := strings.ReplaceAll(debianSources, debianKeys, "/etc/keys/own.asc")
	for name, c := range map[string]struct {
		host host
		req  sdk.Request
		want [][]string
		warn string
	}{
		"of the host": {
			debianHost(),
			sdk.Request{},
			[][]string{{"http://mirror.example.org/debian", debianKeys, "http://mirror.example.org/debian-security", debianKeys, "updates", "of the host"}},
			"",
		},
		"of a host that signs anew": {
			debianHost(file{"etc/apt/sources.list.d/debian.sources", corporate}),
			sdk.Request{},
			[][]string{{"http://mirror.example.org/debian", "/etc/keys/own.asc", "http://mirror.example.org/debian-security", "/etc/keys/own.asc", "updates", "of the host"}},
			"",
		},
		"of the host, for sid": {
			debianHost(),
			sdk.Request{Release: "sid"},
			[][]string{{"http://mirror.example.org/debian", debianKeys, "", debianKeys, "of the host"}},
			"",
		},
		"of the tool, for another distribution": {debianHost(), sdk.Request{Distro: "ubuntu"}, nil, ""},
		"of the tool, on another host": {
			debianHost(file{"etc/os-release", "ID=fedora\n"}), sdk.Request{}, nil, "",
		},
		"of the user, with the host's for security": {
			debianHost(),
			sdk.Request{Mirrors: []string{"https://other.example.org/debian/"}},
			[][]string{{"https://other.example.org/debian", debianKeys, "http://mirror.example.org/debian-security", debianKeys, "updates"}},
			"",
		},
		"of the user, all of them": {
			debianHost(),
			sdk.Request{Mirrors: []string{"http://a.example.org/debian-security", "http://a.example.org/debian", "http://b.example.org/debian"}},
			[][]string{
				{"http://a.example.org/debian", debianKeys, "http://a.example.org/debian-security", debianKeys, "updates"},
				{"http://b.example.org/debian", debianKeys, "http://a.example.org/debian-security", debianKeys, "updates"},
			},
			"",
		},
		"of the user, on another host": {
			debianHost(file{"etc/os-release", "ID=arch\n"}),
			sdk.Request{Mirrors: []string{"http://a.example.org/debian"}},
			[][]string{{"http://a.example.org/debian", debianKeys, "", debianKeys, "updates", "ask for security"}},
			"",
		},
		"of the user, with keys that sign nothing else": {
			debianHost(),
			sdk.Request{Keyring: "/etc/keys/own.asc", Mirrors: []string{"http://a.example.org/debian"}},
			[][]string{{"http://a.example.org/debian", "/etc/keys/own.asc", "", "/etc/keys/own.asc", "updates"}},
			"no security updates",
		},
		"of the user, for Ubuntu": {
			debianHost(),
			sdk.Request{Distro: "ubuntu", Mirrors: []string{"http://a.example.org/ubuntu"}},
			[][]string{{"http://a.example.org/ubuntu", ubuntuKeys, "http://a.example.org/ubuntu", ubuntuKeys, "updates"}},
			"",
		},
		"local, without anything beside": {
			debianHost(file{"srv/debian/dists/trixie/Release", ""}),
			sdk.Request{Mirrors: []string{"file:///srv/debian"}},
			[][]string{{"file:///srv/debian", debianKeys, "", debianKeys}},
			"no security updates",
		},
		"local, with everything": {
			debianHost(
				file{"srv/debian/dists/trixie/InRelease", ""}, file{"srv/debian/dists/trixie-updates/InRelease", ""},
				file{"srv/debian/dists/trixie-security/InRelease", ""},
			),
			sdk.Request{Mirrors: []string{"file:///srv/debian"}},
			[][]string{{"file:///srv/debian", debianKeys, "file:///srv/debian", debianKeys, "updates"}},
			"cannot reach",
		},
		"on the loopback": {
			debianHost(),
			sdk.Request{Mirrors: []string{"http://127.0.0.1:8000/debian"}},
			[][]string{{"http://127.0.0.1:8000/debian", debianKeys, "", debianKeys, "updates"}},
			"cannot reach",
		},
		"without security, as was said": {
			debianHost(),
			sdk.Request{Options: option(optionSecurity, "none")},
			[][]string{{"http://mirror.example.org/debian", debianKeys, "", debianKeys, "updates", "of the host"}},
			"",
		},
		"with security from elsewhere": {
			debianHost(),
			sdk.Request{Options: option(optionSecurity, "http://s.example.org/sec/")},
			[][]string{{"http://mirror.example.org/debian", debianKeys, "http://s.example.org/sec", debianKeys, "updates", "of the host"}},
			"",
		},
		"without updates, as was said": {
			debianHost(),
			sdk.Request{Options: option(optionUpdates, "off")},
			[][]string{{"http://mirror.example.org/debian", debianKeys, "http://mirror.example.org/debian-security", debianKeys, "of the host"}},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.req.Distro == "" {
				c.req.Distro = "debian"
			}
			j, found := c.host.resolve(c.req)
			if err := found.Err(); err != nil {
				t.Fatal(err)
			}
			var got [][]string
			for _, a := range j.archives {
				got = append(got, asArchive(a))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("archives differ (-want +got):\n%s", diff)
			}
			warned := c.warn == ""
			for _, f := range found.Diagnostics() {
				warned = warned || strings.Contains(f.Message, c.warn)
			}
			if !warned || c.warn == "" && len(found.Diagnostics()) > 0 {
				t.Errorf("the findings are %+v, want a warning with %q", found.Diagnostics(), c.warn)
			}
		})
	}
}

func TestAHostWhoseKeyringIsGoneIsNotReady(t *testing.T) {
	h := debianHost(file{"etc/apt/sources.list.d/debian.sources", strings.ReplaceAll(debianSources, debianKeys, "/etc/keys/gone.gpg")})
	_, found := h.resolve(sdk.Request{Distro: "debian"})
	failure := sdk.AsFailure(found.Err())
	if failure.Code != sdk.CodeHostNotReady || !strings.Contains(failure.Message, "/etc/keys/gone.gpg") {
		t.Errorf("the failure is %+v", failure)
	}
}
