package main

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// host is what the plugin asks of the host it runs on before it does anything.
type host struct {
	sdk.Host

	now func() time.Time
	// version is what a program answers to --version.
	version func(program string) string
}

func thisHost() host {
	return host{Host: sdk.ThisHost(), now: time.Now, version: askVersion}
}

// askVersion asks a program for its version. What dnf 4 lists beside it, from the
// host's package database, is passed over.
func askVersion(program string) string {
	first := ""
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ask := sdk.Command{
		Argv: []string{program, "--version"},
		Env:  []string{"DNF_DISABLE_ALIASES=1", "LC_ALL=C.UTF-8"},
		OnLine: func(line string) {
			if first == "" && versionForm.MatchString(line) {
				first = line
			}
		},
	}
	// Why it does not answer does not matter here: it is not taken for dnf.
	_ = ask.Run(ctx)
	return first
}

// engine is a dnf.
type engine struct {
	program string // dnf5 or dnf
	five    bool
	version string
}

// versionForm is the first line that each prints: "4.14.0", and "dnf5 version
// 5.2.16.0" with "dnf5 plugin API version 2.0" after it.
var versionForm = regexp.MustCompile(`^(dnf5 version )?([0-9]+(?:\.[0-9]+)+)$`)

// parseVersion takes such a line apart.
func parseVersion(program, line string) (engine, bool) {
	m := versionForm.FindStringSubmatch(line)
	if m == nil || m[1] == "" && m[2][:2] != "4." {
		return engine{}, false
	}
	return engine{program: program, five: m[1] != "", version: m[2]}, true
}

// engines are those of the host. Both may be there, and dnf may be either. What
// should be one and does not answer is mute.
func (h host) engines() (all []engine, mute string) {
	for _, program := range []string{engineFive, engineFour} {
		if h.Find(program) == "" {
			continue
		}
		answer := h.version(program)
		if answer == "" && mute == "" {
			mute = program
		}
		e, ok := parseVersion(program, answer)
		if ok && !slices.ContainsFunc(all, func(other engine) bool { return other.five == e.five }) {
			all = append(all, e)
		}
	}
	return all, mute
}

// machines are the architectures that the distributions are made for, as `uname
// -m` and dnf call them.
var machines = []string{"x86_64", "aarch64", "ppc64le", "s390x"}

// architectures lists those that the host can run, its own first.
func (h host) architectures() []string {
	all := []string{h.Machine}
	for _, machine := range machines {
		if machine != h.Machine && h.Runs(machine) {
			all = append(all, machine)
		}
	}
	return all
}
