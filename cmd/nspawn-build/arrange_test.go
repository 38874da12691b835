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
		"-o json list":                          "list --output json --",
		"-o=json image box":                     "image --output=json -- box",
		"-o json --log-level debug plugin list": "plugin list --output json --log-level debug --",
		"-o json --distro debian box":           "create -o json --distro debian -- box",
		"help":                                  "--help",
		"help create":                           "create --help",
		"help plugin list":                      "plugin list --help",
		"--output json help cache":              "cache --help",
		"statsu --distro debian":                "create --distro debian -- statsu",
		"statsu --file web.yaml":                "create --file web.yaml -- statsu",
		"create statsu":                         "create -- statsu",
		"test":                                  "create -- test",
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
		got, err := arrange(append([]string{"nspawn-build"}, strings.Fields(in)...), app.cli)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if diff := cmp.Diff(append([]string{"nspawn-build"}, strings.Fields(want)...), got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
}

func TestALineThatCannotBeMeantIsRefused(t *testing.T) {
	app := newApp(streams{strings.NewReader(""), &strings.Builder{}, &strings.Builder{}})
	for in, want := range map[string]string{
		"plan --distro debian box --directory": "flag --directory needs a value",
		"box --directory --no-boot":            "flag --directory needs a value",
		"box --directory -- x":                 "flag --directory needs a value",
		"box --memory-max --cpu-quota=50%":     "flag --memory-max needs a value",
		"--log-level":                          "flag --log-level needs a value",
		"logs box -n":                          "flag -n needs a value",
		"exec --user -- box id":                "flag --user needs a value",
		"statsu":                               `"statsu" is not a command`,
		"statsu box":                           `"statsu" is not a command`,
		"destory --yes box":                    `"destory" is not a command`,
		"help statsu":                          `"statsu" is not a command`,
		"help plugin lst":                      `"plugin lst" is not a command`,
	} {
		if _, err := arrange(append([]string{"nspawn-build"}, strings.Fields(in)...), app.cli); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}
