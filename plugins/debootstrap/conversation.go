package main

import (
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// conversation follows what debootstrap tells an installer on descriptor 3:
//
//	P: 12345 67890 DOWNDEBS     how far, of how much, in what step
//	P: 23456 67890              the same step
//	I: EXTRACTING               a message: its name,
//	IA: libc6                   its arguments, one a line,
//	IF: Extracting %s...        and its text
//
// W: and E: are the same for warnings and errors.
type conversation struct {
	report    sdk.Reporter
	step      string
	item      string
	message   string // the name of the message that is being told
	arguments []string
	packages  uint64 // how many are downloaded
	fetched   uint64
	failures  []string
}

func newConversation(report sdk.Reporter) *conversation { return &conversation{report: report} }

// errors are the errors that debootstrap told, as sentences.
func (c *conversation) errors() []string { return c.failures }

// Downloading packages is counted here: debootstrap counts the bytes, but
// forgets them from one package to the next.
const (
	stepSizes    = "SIZEDEBS" // counts the packages
	stepPackages = "DOWNDEBS"
	fetchedOne   = "VALIDATING"
)

// steps says what debootstrap's names for its steps are about.
var steps = map[string]struct{ phase, unit string }{
	"DOWNREL":     {phaseIndex, "percent"},
	"DOWNPKGS":    {phaseIndex, "bytes"},
	stepSizes:     {phaseDownload, ""},
	stepPackages:  {phaseDownload, ""},
	"EXTRACTPKGS": {phaseUnpack, unitPackages},
	"UNPACKREQ":   {phaseUnpack, unitPackages},
	"UNPACKBASE":  {phaseUnpack, unitPackages},
	"CONFREQ":     {phaseConfigure, unitPackages},
	"CONFBASE":    {phaseConfigure, unitPackages},
}

func (c *conversation) line(text string) {
	key, value, ok := strings.Cut(text, ": ")
	if !ok {
		return
	}
	switch key {
	case "P":
		c.advance(strings.Fields(value))
	case "I", "W", "E":
		c.message, c.arguments = value, nil
	case "IA", "WA", "EA":
		c.arguments = append(c.arguments, value)
	case "IF", "WF", "EF":
		c.say(key[0], value)
	}
}

// advance reads the fields of a P line.
func (c *conversation) advance(fields []string) {
	name := c.step
	switch len(fields) {
	case 2:
	case 3:
		name = fields[2]
	default:
		return
	}
	step, known := steps[name]
	done, errDone := strconv.ParseUint(fields[0], 10, 64)
	total, errTotal := strconv.ParseUint(fields[1], 10, 64)
	if errDone != nil || errTotal != nil {
		return
	}
	begins := name != c.step
	c.step = name
	if !known {
		return
	}
	if name == stepSizes {
		c.packages = max(c.packages, total)
		return
	}
	if begins {
		c.item = ""
		c.report.Phase(step.phase)
	}
	if name == stepPackages {
		return
	}
	c.report.Progress(sdk.Progress{Done: min(done, total), Total: total, Unit: step.unit, Item: c.item})
}

// say puts the arguments of a message in its text.
func (c *conversation) say(kind byte, text string) {
	for _, argument := range c.arguments {
		text = strings.Replace(text, "%s", argument, 1)
	}
	text, _, _ = strings.Cut(text, `\n`) // the rest is advice for people at a prompt
	switch kind {
	case 'E':
		c.failures = append(c.failures, "E: "+text)
		c.report.Line("E: " + text)
	case 'W':
		c.report.Line("W: " + text)
	case 'I':
		if len(c.arguments) > 0 {
			c.item = c.arguments[0]
		}
		if c.message == fetchedOne && c.step == stepPackages {
			c.fetched = min(c.fetched+1, c.packages)
			c.report.Progress(sdk.Progress{Done: c.fetched, Total: c.packages, Unit: unitPackages, Item: c.item})
		}
		c.report.Line("I: " + text)
	}
	c.arguments = nil
}
