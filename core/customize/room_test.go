package customize

import (
	"slices"
	"strings"
	"testing"
)

func TestAProgramIsRunByTheInterpreterThatItNames(t *testing.T) {
	for text, want := range map[string][]string{
		"#!/bin/bash -eu\nx":         {"/bin/bash", "-eu", inTheRoom},
		"#! /usr/bin/env python3 \n": {"/usr/bin/env", "python3", inTheRoom},
		"echo\n":                     {"/bin/sh", inTheRoom},
		"#!\n":                       {"/bin/sh", inTheRoom},
		"\x7fELF\x02":                {inTheRoom},
	} {
		if got := interpreter([]byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q is run by %q, want %q", text, got, want)
		}
	}
}

func TestARoomIsShutUnlessTheNetworkIsAskedFor(t *testing.T) {
	r := &Room{Name: "box", Tree: "/srv/box", Epoch: 17}
	shut := strings.Join(r.arguments("room", "/run/a:b", []string{"/bin/sh"}), " ")
	for _, want := range []string{
		"--register=no", "--settings=no", "--as-pid2", "--private-users=identity", "--private-network", "--resolv-conf=off", "CAP_SYS_ADMIN",
		`--bind-ro=/run/a\:b:` + inTheRoom + " ", "--setenv=SOURCE_DATE_EPOCH=17", "--timezone=off", "-- /bin/sh",
	} {
		if !strings.Contains(shut+" ", want) {
			t.Errorf("%s is missing in %s", want, shut)
		}
	}
	r.Network = true
	if open := strings.Join(r.arguments("room", "", nil), " "); strings.Contains(open, "--private-network") || strings.Contains(open, "--bind") {
		t.Error(open)
	}
}
