package main

import (
	"regexp"
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
var retrieving = regexp.MustCompile(`^dlstatus:[0-9]+:[0-9.]+:Retrieving file (?P<done>[0-9]+) of (?P<total>[0-9]+)`)

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
