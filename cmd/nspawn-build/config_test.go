package main

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

func TestConfigSetsDefaultsOfFlags(t *testing.T) {
	got, err := parseConfig([]byte("distro: debian\nmemory-max: 512M\ntasks-max: 500\ndns: [9.9.9.9, 1.1.1.1]\npool: 10.0.0.0-10.0.9.0\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		"distro": {"debian"}, "memory-max": {"512M"}, "tasks-max": {"500"}, "dns": {"9.9.9.9", "1.1.1.1"}, "pool": {"10.0.0.0-10.0.9.0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	pool, err := got.pool()
	if err != nil || pool.String() != "10.0.0.0/24 to 10.0.9.0/24" {
		t.Errorf("pool %v, %v", pool, err)
	}
}

func TestConfigThatIsWrongIsRefused(t *testing.T) {
	for in, want := range map[string]string{
		"memory: 1G":                  `"memory" is not known`,
		"password-stdin: true":        `"password-stdin" is not known`,
		"generate-password: true":     `"generate-password" is not known`,
		"distro: {name: debian}":      `"distro" needs a value`,
		"distro:":                     `"distro" needs a value`,
		"distro: debian\ndistro: x\n": "distro",
		"distro: [":                   "",
	} {
		if _, err := parseConfig([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseConfig(%q): %v, want %q", in, err, want)
		}
	}
	for _, pool := range []string{"10.0.0.0", "a-b", "10.0.9.0-10.0.0.0", "10.0.0.5-10.0.1.0", "fd00::-fd01::"} {
		if _, err := (config{"pool": {pool}}).pool(); err == nil {
			t.Errorf("pool %q was taken", pool)
		}
	}
}

func TestNoConfigIsNoDefaults(t *testing.T) {
	c, err := readConfig(filepath.Join(t.TempDir(), "none.yaml"))
	if err != nil || c != nil {
		t.Errorf("readConfig = %v, %v", c, err)
	}
	if _, err := c.pool(); err != nil {
		t.Errorf("pool without a file: %v", err)
	}
}

func TestConfigIsNoWishToChangeALimit(t *testing.T) {
	a := newApp(streams{})
	for command, want := range map[string]bool{"create": true, "set": false} {
		c := a.cli.Command(command)
		flags := flag.NewFlagSet(command, flag.ContinueOnError)
		for _, f := range c.Flags {
			if err := f.Apply(flags); err != nil {
				t.Fatal(err)
			}
		}
		ctx := cli.NewContext(a.cli, flags, nil)
		ctx.Command = c
		if err := (config{"memory-max": {"1G"}}).apply(ctx); err != nil {
			t.Fatal(err)
		}
		if got := ctx.String("memory-max") == "1G"; got != want {
			t.Errorf("%s: memory-max is %q", command, ctx.String("memory-max"))
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("distro: debian\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseConfig(data) })
}
