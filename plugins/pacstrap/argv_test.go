package main

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// shown writes commands one argument a line, so that a change shows as such.
func shown(commands [][]string) string {
	var b strings.Builder
	for _, argv := range commands {
		b.WriteString(strings.Join(argv, "\n    ") + "\n")
	}
	return b.String()
}

// TestCommandsAndConfigurationsAreAsAgreed is one golden file for each kind of
// request. They are the same for pacman 6.0, 7.0 and 7.1: no directive is used
// that one of them does not know.
func TestCommandsAndConfigurationsAreAsAgreed(t *testing.T) {
	noMtab := debianHost()
	noMtab.Root = withoutMtab(t, noMtab)
	for _, c := range []struct {
		name string
		host host
		req  sdk.Request
	}{
		{"rolling", debianHost(), sdk.Request{}},
		{"rolling-on-arch", archHost(), sdk.Request{}},
		{"dated", debianHost(), sdk.Request{Release: "2024/02/29"}},
		{"arm", withEmulator(), sdk.Request{Architecture: arm}},
		{"own-keyring", debianHost(), sdk.Request{Keyring: "/etc/keys/own.asc", Options: option(optionDatabases, "required")}},
		{"several-mirrors", debianHost(), sdk.Request{Mirrors: []string{
			"https://a.example.org/$repo/os/$arch", "file:///srv/mirror/$repo/os/$arch", "http://127.0.0.1:8080/$repo/os/$arch",
		}}},
		{"only-a-directory", debianHost(), mirror("file:///srv/mirror/$repo/os/$arch")},
		{"everything", debianHost(), sdk.Request{
			Packages: []string{"git", "base-devel", "extra/vim", "git"}, Options: option(optionVariant, "standard"),
		}},
		{"no-mtab", noMtab, sdk.Request{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.req.Distro = distro
			plan, err := (&plugin{host: c.host}).Plan(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			sdktest.Golden(t, "argv/"+c.name+".golden", shown(plan.Commands))
			c.req.Target, c.req.WorkDirectory = "/srv/tree", "/srv/work"
			j, found := c.host.resolve(c.req)
			if err := found.Err(); err != nil {
				t.Fatal(err)
			}
			j.scratch, j.packageD = "/tmp/short", []string{"/var/cache/x/downloads/job-1", "/var/cache/x/pkg"}
			sdktest.Golden(t, "conf/"+c.name+".golden", j.pacmanConf()+"--- mirrorlist\n"+j.mirrorList())
		})
	}
}

func TestToolsRunInNamespacesOfTheirOwn(t *testing.T) {
	j := &job{scratch: "/tmp/short"}
	sdktest.Golden(t, "argv/enclosed.golden", shown([][]string{j.enclosed([]string{"pacstrap", "$(id)"})}))
}
