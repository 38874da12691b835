package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlagsMayStandAnywhere(t *testing.T) {
	tests := map[string]string{
		"":                                      "",
		"--help":                                "--help",
		"list":                                  "list --",
		"box":                                   "create -- box",
		"--distro debian box":                   "create --distro debian -- box",
		"box --distro debian --no-boot":         "create --distro debian --no-boot -- box",
		"--no-boot box --distro=debian":         "create --no-boot --distro=debian -- box",
		"create box --memory-max 1G":            "create --memory-max 1G -- box",
		"-- -x":                                 "create -- -x",
		"--distro debian list":                  "create --distro debian -- list",
		"--log-level debug list":                "list --log-level debug --",
		"--output=json status box":              "status --output=json -- box",
		"--log-level debug plugin list":         "plugin list --log-level debug --",
		"--log-level debug box":                 "create --log-level debug -- box",
		"--log-level":                           "create --log-level --",
		"stop box --timeout 3s":                 "stop --timeout 3s -- box",
		"exec box ls -l /":                      "exec -- box ls -l /",
		"exec box -- ls -l --log-level x":       "exec -- box ls -l --log-level x",
		"exec --log-level debug box ls --help":  "exec --log-level debug -- box ls --help",
		"ssh -i key box -- uname -a":            "ssh -i key -- box uname -a",
		"logs box -n 5 -f":                      "logs -n 5 -f -- box",
		"logs -b -1 box":                        "logs -b=-1 -- box",
		"logs --boot all -u ssh box":            "logs --boot=all -u ssh -- box",
		"logs -b box":                           "logs -b -- box",
		"logs box -b":                           "logs -b -- box",
		"plugin list --output json":             "plugin list --output json --",
		"plugin":                                "plugin",
		"create --distro debian box --password": "create --distro debian --password -- box",
	}
	app := newApp(streams{strings.NewReader(""), &strings.Builder{}, &strings.Builder{}})
	for in, want := range tests {
		got := arrange(append([]string{"nspawn-build"}, strings.Fields(in)...), app.cli)
		if diff := cmp.Diff(append([]string{"nspawn-build"}, strings.Fields(want)...), got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
}
