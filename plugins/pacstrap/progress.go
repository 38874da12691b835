package main

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// The phases, as the user sees them.
const (
	phaseKeys      = "keys"
	phaseIndex     = "index"
	phaseDownload  = "download"
	phaseVerify    = "verify"
	phaseUnpack    = "unpack"
	phaseConfigure = "configure"
	phaseTrust     = "trust"
	phaseTidy      = "tidy"
)

const unitPackages = "packages"

// installation follows the lines that pacman prints where there is no terminal:
// one for each step, without counts but for hooks.
type installation struct {
	report sdk.Reporter
	cached bool // some packages need no download, it is not known how many

	phase    string
	total    uint64 // packages to install
	done     uint64 // in this phase
	said     string // the line before
	problems []string
}

// begins maps what pacman says to the phase that begins with it.
var begins = map[string]string{
	":: Synchronizing package databases...": phaseIndex,
	":: Retrieving packages...":             phaseDownload,
	"checking keyring...":                   phaseVerify,
	":: Processing package changes...":      phaseUnpack,
	":: Running post-transaction hooks...":  phaseConfigure,
}

var (
	packageCount = regexp.MustCompile(`^Packages? \(([0-9]{1,6})\) `)
	// Before version 6.1 pacman gives no count on no terminal.
	installing  = regexp.MustCompile(`^(?:\( *[0-9]+/[0-9]+\) )?installing (\S+?)(?:\.\.\.)?$`)
	downloading = regexp.MustCompile(`^ *(\S+) downloading\.\.\.$`)
	hook        = regexp.MustCompile(`^\( *([0-9]{1,4})/([0-9]{1,4})\) (.+?)(?:\.\.\.)?$`)
)

func (i *installation) line(text string) {
	defer func() { i.said = text }()
	if phase := begins[strings.TrimSpace(text)]; phase != "" {
		i.phase, i.done = phase, 0
		i.report.Phase(phase)
		return
	}
	if m := packageCount.FindStringSubmatch(text); m != nil {
		i.total, _ = strconv.ParseUint(m[1], 10, 32) // it is digits
		return
	}
	if strings.HasPrefix(text, "error: command failed to execute correctly") {
		i.problems = append(i.problems, i.said)
		return
	}
	switch i.phase {
	case phaseDownload:
		if m := downloading.FindStringSubmatch(text); m != nil {
			total := i.total
			if i.cached {
				total = 0
			}
			i.count(m[1], total)
		}
	case phaseUnpack:
		if m := installing.FindStringSubmatch(text); m != nil {
			i.count(m[1], i.total)
		}
	case phaseConfigure:
		m := hook.FindStringSubmatch(text)
		if m == nil {
			return
		}
		done, errDone := strconv.ParseUint(m[1], 10, 32)
		total, errTotal := strconv.ParseUint(m[2], 10, 32)
		if errDone == nil && errTotal == nil && done <= total {
			i.report.Progress(sdk.Progress{Done: done, Total: total, Unit: "hooks", Item: m[3]})
		}
	}
}

// count reports one more package.
func (i *installation) count(item string, total uint64) {
	i.done++
	i.report.Progress(sdk.Progress{Done: i.done, Total: total, Unit: unitPackages, Item: item})
}

// warn tells of scripts that failed, which pacman takes for success.
func (i *installation) warn() {
	for _, said := range i.problems {
		i.report.Warning("a script of a package failed: "+said, "the output of pacman around that says which")
	}
}

// noise tells lines that only matter to people at a prompt, and those that come
// by the dozen with every tree.
func noise(line string) bool {
	return strings.HasPrefix(line, ":: Proceed with installation?") ||
		strings.HasPrefix(line, "gpg: marginals needed") || strings.HasPrefix(line, "gpg: setting ownertrust") ||
		strings.HasPrefix(line, "gpg: inserting ownertrust")
}
