package main

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// The phases, as the user sees them.
const (
	phaseIndex    = "index"
	phaseDownload = "download"
	phaseInstall  = "install"
	phaseVerify   = "verify"
	phaseTidy     = "tidy"
)

const unitPackages = "packages"

// progress follows the lines that dnf prints when it has no terminal. dnf 4:
//
//	(12/166): bash-5.2.37-1.fc42.x86_64.rpm   1.2 MB/s | 660 kB     00:00
//	  Installing       : glibc-2.41-1.fc42.x86_64                  9/166
//	  Verifying        : bash-5.2.37-1.fc42.x86_64                 2/166
//
// where 4.23 does not verify any more,
// and dnf5, which cuts long names off:
//
//	[ 12/166] bash-0:5.2.37-1.fc42.x86_64 100% |   1.2 MiB/s | 660.0 KiB |  00m00s
//	[166/168] Installing hostname-0:3.25-1. 100% |   8.8 MiB/s |  27.0 KiB |  00m00s
type progress struct {
	report sdk.Reporter
	phase  string
	warned map[string]bool
}

func newProgress(report sdk.Reporter) *progress {
	p := &progress{report: report, warned: map[string]bool{}}
	p.enter(phaseIndex)
	return p
}

func (p *progress) enter(phase string) {
	if p.phase != phase {
		p.phase = phase
		p.report.Phase(phase)
	}
}

var (
	fetched   = regexp.MustCompile(`^(?:\(([0-9]+)/([0-9]+)\): (\S+)|\[ *([0-9]+)/([0-9]+)\] (\S+) .*\|)`)
	installed = regexp.MustCompile(`^ +(Installing|Verifying) +: (\S+) +([0-9]+)/([0-9]+) *$`)
	stepped   = regexp.MustCompile(`^\[ *([0-9]+)/([0-9]+)\] (Verify|Prepare|Installing) ?(.*?) +[0-9?]+% \|`)
	summed    = regexp.MustCompile(`^ *Install(?:ing:)? +([0-9]+) +[Pp]ackages?$`)
)

// downloading follows dnf while it fetches. Packages that are in the cache, or in
// a directory of the host, are not counted one by one.
func (p *progress) downloading(line string) {
	if m := summed.FindStringSubmatch(line); m != nil {
		p.enter(phaseDownload)
		p.count("0", m[1], "")
		return
	}
	m := fetched.FindStringSubmatch(line)
	switch {
	case m == nil:
	case m[1] != "":
		p.enter(phaseDownload)
		p.count(m[1], m[2], strings.TrimSuffix(m[3], ".rpm"))
	case m[6] != "Total":
		p.enter(phaseDownload)
		p.count(m[4], m[5], m[6])
	}
}

// installing follows dnf while it installs.
func (p *progress) installing(line string) {
	if line == "Running transaction" {
		p.enter(phaseInstall)
		return
	}
	p.scriptlet(line)
	if m := installed.FindStringSubmatch(line); m != nil {
		phase := phaseInstall
		if m[1] == "Verifying" {
			phase = phaseVerify
		}
		p.enter(phase)
		p.count(m[3], m[4], m[2])
		return
	}
	m := stepped.FindStringSubmatch(line)
	if m == nil || p.phase != phaseInstall {
		return
	}
	item := m[4]
	if m[3] != "Installing" {
		item = "" // two steps of the whole
	}
	p.count(m[1], m[2], item)
}

func (p *progress) count(done, total, item string) {
	d, errDone := strconv.ParseUint(done, 10, 32)
	t, errTotal := strconv.ParseUint(total, 10, 32)
	if errDone == nil && errTotal == nil {
		p.report.Progress(sdk.Progress{Done: min(d, t), Total: t, Unit: unitPackages, Item: item})
	}
}

// scriptletFailed are the ways in which the script of a package is said to have
// failed: by rpm, by dnf 4 and by dnf5.
var scriptletFailed = regexp.MustCompile(
	`%\w+\(([^)]+)\) scriptlet failed|^Error in \S+ scriptlet in rpm package (\S+)|[Ee]rror in \S+ scriptlet: (\S+)|scriptlet failed.*: (\S+)$`)

// scriptlet warns once of each package whose script failed: rpm takes that for
// nothing to fail for.
func (p *progress) scriptlet(line string) {
	m := scriptletFailed.FindStringSubmatch(line)
	if m == nil {
		return
	}
	name := ""
	for _, group := range m[1:] {
		name += group
	}
	if p.warned[name] {
		return
	}
	p.warned[name] = true
	p.report.Warning("a script of the package "+name+" failed", "the lines around this one say why; the package may not work")
}
