package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
)

// shown writes commands one argument a line, so that a change shows as such.
func shown(commands [][]string) string {
	var b strings.Builder
	for _, argv := range commands {
		b.WriteString(strings.Join(argv, "\n    ") + "\n")
	}
	return b.String()
}

func TestCommandsAreAsAgreed(t *testing.T) {
	with := func(engine string, more ...string) map[string]string {
		m := map[string]string{optionEngine: engine}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for _, c := range []struct {
		name string
		req  sdk.Request
	}{
		{"trixie-mmdebstrap", sdk.Request{Distro: "debian", Release: "trixie", Options: with(engineMmdebstrap)}},
		{"trixie-debootstrap", sdk.Request{Distro: "debian", Release: "trixie", Options: with(engineDebootstrap)}},
		{"bookworm-mmdebstrap", sdk.Request{Distro: "debian", Release: "bookworm", Options: with(engineMmdebstrap)}},
		{"buster-debootstrap", sdk.Request{Distro: "debian", Release: "buster", Options: with(engineDebootstrap)}},
		{"sid-mmdebstrap", sdk.Request{Distro: "debian", Release: "sid", Options: with(engineMmdebstrap)}},
		{"ubuntu-lts-mmdebstrap", sdk.Request{Distro: "ubuntu", Options: with(engineMmdebstrap)}},
		{"jammy-debootstrap", sdk.Request{Distro: "ubuntu", Release: "jammy", Options: with(engineDebootstrap)}},
		{"everything-mmdebstrap", sdk.Request{
			Distro: "debian", Release: "trixie", Architecture: "i686", Packages: []string{"git", "nginx=1.26.3-3"},
			Mirrors: []string{"https://other.example.org/debian/"},
			Options: with(engineMmdebstrap, optionVariant, "standard", optionComponents, "main,contrib"),
		}},
		{"own-keyring-debootstrap", sdk.Request{
			Distro: "debian", Release: "trixie", Keyring: "/etc/keys/own.asc",
			Mirrors: []string{"http://other.example.org/debian"}, Options: with(engineDebootstrap),
		}},
		{"newer-than-the-tool-debootstrap", sdk.Request{
			Distro: "debian", Release: "zurg", Options: with(engineDebootstrap, optionUnknown, "allow"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &plugin{host: debianHost()}
			plan, err := p.Plan(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			sdktest.Golden(t, "argv/"+c.name+".golden", shown(plan.Commands))
		})
	}
}

func TestTheConfigurationOfAptIsAsAgreed(t *testing.T) {
	j := &job{architecture: "amd64", target: "/srv/tree"}
	sdktest.Golden(t, "apt/outside.golden", j.outsideConfig(true, nil))
	sdktest.Golden(t, "apt/outside-unsandboxed.golden", j.outsideConfig(false, hostLogins()))
	sdktest.Golden(t, "apt/tree.golden", j.treeConfig([]string{`Acquire::http::Proxy "http://proxy.example.org:3128";`}))
}

func TestOnlySettingsForReachingMirrorsAreTakenFromTheHost(t *testing.T) {
	got := fromDump([]string{
		`APT "";`,
		`Acquire::http "";`,
		`Acquire::http::Proxy "http://proxy.example.org:3128";`,
		`Acquire::https::Proxy::secure.example.org "DIRECT";`,
		`Acquire::http::Timeout "3000";`,
		`Acquire::Check-Valid-Until "false";`,
		`Acquire::AllowInsecureRepositories "1";`,
		`Acquire::Languages "none";`,
		`APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin || true";`,
		`DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure --apt || true";`,
		`Acquire::http::Proxy "a"; APT::Update::Pre-Invoke:: "id";`,
	})
	want := []string{
		`Acquire::http::Proxy "http://proxy.example.org:3128";`,
		`Acquire::https::Proxy::secure.example.org "DIRECT";`,
		`Acquire::Check-Valid-Until "false";`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings differ (-want +got):\n%s", diff)
	}
}

func TestSourcesAreWrittenForEachReader(t *testing.T) {
	h := debianHost(file{"srv/mirror/debian/dists/trixie/InRelease", ""})
	for name, req := range map[string]sdk.Request{
		"host":   {Distro: "debian", Release: "trixie"},
		"sid":    {Distro: "debian", Release: "sid"},
		"local":  {Distro: "debian", Release: "trixie", Mirrors: []string{"file:///srv/mirror/debian"}},
		"keys":   {Distro: "debian", Release: "trixie", Keyring: "/etc/keys/own.asc", Mirrors: []string{"http://a.example.org/debian"}},
		"ubuntu": {Distro: "ubuntu", Release: "jammy", Mirrors: []string{"http://a.example.org/ubuntu"}},
		"snapshot": {
			Distro: "debian", Release: "trixie", Snapshot: "2025-12-31",
			Mirrors: []string{"http://a.example.org/debian/$snapshot", "http://a.example.org/debian-security/$snapshot"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			j, found := h.resolve(req)
			if err := found.Err(); err != nil {
				t.Fatal(err)
			}
			j.place("/target", "/work")
			var b strings.Builder
			b.WriteString("--- machine\n" + renderFor(j, j.inMachine()))
			b.WriteString("--- outside\n" + renderFor(j, j.fromOutside()))
			b.WriteString("--- inside\n" + renderFor(j, j.fromInside()))
			sdktest.Golden(t, "sources/"+name+".golden", b.String())
		})
	}
}

func renderFor(j *job, v viewpoint) string {
	return aptsource.Render("", j.sources(j.archives[0], v))
}
