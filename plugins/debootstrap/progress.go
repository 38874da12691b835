package main

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// The phases, as the user sees them.
const (
	phaseIndex     = "index"
	phaseDownload  = "download"
	phaseUnpack    = "unpack"
	phaseConfigure = "configure"
)

const unitPackages = "packages"

// retrieving is the text of a dlstatus line of APT::Status-Fd.
var retrieving = regexp.MustCompile(`^dlstatus:[0-9]+:[0-9.]+:Retrieving file ([0-9]+) of ([0-9]+)`)

// downloadProgress reads what apt writes to its status descriptor while it
// downloads packages.
func downloadProgress(report sdk.Reporter) func(line string) {
	return func(line string) {
		m := retrieving.FindStringSubmatch(line)
		if m == nil {
			return
		}
		done, errDone := strconv.ParseUint(m[1], 10, 32)
		total, errTotal := strconv.ParseUint(m[2], 10, 32)
		if errDone == nil && errTotal == nil {
			report.Progress(sdk.Progress{Done: done, Total: total, Unit: unitPackages})
		}
	}
}

// installation follows the lines that dpkg prints. dpkg goes back and forth
// between unpacking and configuring; each is counted on.
type installation struct {
	report sdk.Reporter
	total  uint64
	phase  string
	done   map[string]map[string]bool // by phase, the packages
}

// newInstallation follows the installation of that many packages; 0 means that
// it is not known how many.
func newInstallation(report sdk.Reporter, packages int) *installation {
	return &installation{
		report: report,
		total:  uint64(max(packages, 0)),
		done:   map[string]map[string]bool{phaseUnpack: {}, phaseConfigure: {}},
	}
}

// dpkgStep is a line of dpkg's about one package, in English.
var dpkgStep = regexp.MustCompile(`^(Unpacking|Setting up) ([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)? \(`)

func (i *installation) line(text string) {
	if strings.HasPrefix(text, "I: extracting archives") {
		i.enter(phaseUnpack)
		return
	}
	m := dpkgStep.FindStringSubmatch(text)
	if m == nil {
		return
	}
	phase := phaseUnpack
	if m[1] == "Setting up" {
		phase = phaseConfigure
	}
	i.enter(phase)
	i.done[phase][m[2]] = true
	i.report.Progress(sdk.Progress{
		Done: uint64(len(i.done[phase])), Total: i.total, Unit: unitPackages, Item: m[2],
	})
}

func (i *installation) enter(phase string) {
	if i.phase != phase {
		i.phase = phase
		i.report.Phase(phase)
	}
}
