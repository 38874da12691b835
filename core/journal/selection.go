// Package journal prints the journal of a machine: one that runs is asked
// itself, and of one that is off the files are read that it kept in its tree.
//
// Both are the machine's word, which may be anything. The files are opened by
// core/rootfs and handed over open, so that journalctl is never given a path of
// the tree; it reads them as nobody; and what is printed as text holds nothing
// that a terminal would act on.
package journal

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Selection is what of a journal is printed and how: by the names, and in the
// forms, that journalctl has for it. Empty means that nothing is said of it.
type Selection struct {
	Units    []string // by name or pattern; any of them
	Since    string   // "2026-01-31 12:00", "-1h", "yesterday"
	Until    string
	Boot     string // "0" is the last, "-1" the one before, "all", or an ID
	Lines    string // a number of the last ones, or "all"
	Priority string // "warning" and what is worse, or a range "err..notice"
	Grep     string // a regular expression, as PCRE has it
	Output   string
	Follow   bool
}

// DefaultLines is how many lines are printed where nothing bounds them.
const DefaultLines = 100

// Outputs are the forms that every journalctl still in use knows.
var Outputs = []string{
	"short", "short-full", "short-iso", "short-iso-precise", "short-precise", "short-monotonic", "short-unix",
	"verbose", "export", "json", "json-pretty", "json-sse", "json-seq", "cat", "with-unit",
}

// Priorities are the names of the levels, the worst first.
var Priorities = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

var (
	unitForm = regexp.MustCompile(`^[A-Za-z0-9:_.\\@*?\[\]!-]{1,255}$`)
	bootForm = regexp.MustCompile(`^(all|[+-]?[0-9]{1,6}|[0-9a-f]{32}([+-][0-9]{1,6})?)$`)
	// What systemd.time(7) has for a time, but for weekdays and time zones,
	// which dayForm leaves to it.
	wordForm = regexp.MustCompile(`^(now|today|yesterday|tomorrow)$`)
	dayForm  = regexp.MustCompile(`^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]* )?([0-9]{4}-[0-9]{2}-[0-9]{2})?(?:[ T]?([0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?))?(?:Z| ?[+-][0-9]{2}:?[0-9]{2}| [A-Z][A-Za-z_/+-]*)?$`)
	unixForm = regexp.MustCompile(`^@[0-9]{1,12}(\.[0-9]{1,6})?$`)
	spanForm = regexp.MustCompile(`^([+-])?((?:[0-9]+(?:\.[0-9]+)? ?(?:usec|us|µs|msec|ms|seconds?|sec|s|minutes?|min|m|hours?|hr|h|days?|d|weeks?|w|months?|M|years?|y) ?)+)( ?ago| ?left)?$`)
)

// IsBoot tells whether a word names a boot.
func IsBoot(word string) bool { return bootForm.MatchString(word) }

// Bounded tells whether something of a selection bounds it, other than a number
// of lines: then all of it is what is asked for.
func (s Selection) Bounded() bool {
	return s.Since != "" || s.Until != "" || s.Boot != "" || s.Grep != ""
}

// Chooses tells whether anything is chosen of the journal, or about its form.
func (s Selection) Chooses() bool {
	return s.Bounded() || len(s.Units) > 0 || s.Priority != "" || s.Output != ""
}

// Check finds everything in a selection that journalctl would not understand.
func (s Selection) Check() spec.Invalid {
	var found spec.Invalid
	refuse := func(field, value, problem, hint string) {
		found = append(found, &spec.FieldError{Field: field, Value: value, Problem: problem, Hint: hint})
	}
	for _, u := range s.Units {
		if !unitForm.MatchString(u) {
			refuse("unit", u, "is not the name of a unit", "use one such as ssh.service, or a pattern such as 'systemd-*'")
		}
	}
	for _, t := range []struct{ field, value string }{{"since", s.Since}, {"until", s.Until}} {
		if t.value != "" && !isTime(t.value) {
			refuse(t.field, t.value, "is not a time", "use 2026-01-31 12:00, 12:00, yesterday, -2h or @SECONDS")
		}
	}
	if s.Boot != "" && !IsBoot(s.Boot) {
		refuse("boot", s.Boot, "names no boot", "use 0 for the last, -1 for the one before it, 1 for the first, all, or an ID of 32 digits")
	}
	if n, err := strconv.Atoi(s.Lines); s.Lines != "" && s.Lines != "all" && (err != nil || n < 1) {
		refuse("lines", s.Lines, "is not a number of lines", "use 1 or more, or all")
	}
	if from, to, isRange := strings.Cut(s.Priority, ".."); s.Priority != "" && (!isPriority(from) || isRange && !isPriority(to)) {
		refuse("priority", s.Priority, "is not a priority", "use one of "+strings.Join(Priorities, ", ")+", 0 to 7, or a range such as err..notice")
	}
	if strings.ContainsFunc(s.Grep, unicode.IsControl) {
		refuse("grep", s.Grep, "holds a control character", "use a regular expression of one line")
	}
	if s.Output != "" && !slices.Contains(Outputs, s.Output) {
		refuse("output", s.Output, "is not a form of journalctl", "use one of "+strings.Join(Outputs, ", "))
	}
	return found
}

func isTime(text string) bool {
	if wordForm.MatchString(text) || unixForm.MatchString(text) {
		return true
	}
	if m := spanForm.FindStringSubmatch(text); m != nil {
		return (m[1] == "") != (m[3] == "") // one of "-1h" and "1h ago"
	}
	m := dayForm.FindStringSubmatch(text)
	if m == nil || m[1] == "" && m[2] == "" {
		return false
	}
	if _, err := time.Parse(time.DateOnly, m[1]); m[1] != "" && err != nil {
		return false
	}
	clock, _, _ := strings.Cut(m[2], ".")
	if strings.Count(clock, ":") == 1 {
		clock += ":00"
	}
	_, err := time.Parse("15:04:05", clock)
	return clock == "" || err == nil
}

func isPriority(word string) bool {
	return slices.Contains(Priorities, word) || len(word) == 1 && word[0] >= '0' && word[0] <= '7'
}

// command is journalctl with what is chosen. Each value is one word with its
// option, so that none is taken for another.
func (s Selection) command() []string {
	argv := []string{"journalctl", "--no-pager"}
	option := func(name, value string) {
		if value != "" {
			argv = append(argv, fmt.Sprintf("--%s=%s", name, value))
		}
	}
	for _, u := range s.Units {
		option("unit", u)
	}
	option("since", s.Since)
	option("until", s.Until)
	option("boot", s.Boot)
	option("priority", s.Priority)
	option("grep", s.Grep)
	option("output", s.Output)
	lines := s.Lines
	if lines == "" && !s.Bounded() {
		lines = strconv.Itoa(DefaultLines)
	}
	if lines == "all" && !s.Follow {
		lines = "" // as it is without
	}
	option("lines", lines)
	if s.Follow {
		argv = append(argv, "--follow")
	}
	return argv
}
