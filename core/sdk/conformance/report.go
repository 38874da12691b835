package conformance

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Status is what became of a rule.
type Status string

// The statuses.
const (
	Kept    Status = "kept"
	Broken  Status = "broken"
	Skipped Status = "skipped"
)

// Result is what became of a rule.
type Result struct {
	Rule

	Status  Status   `json:"status"`
	Seen    []string `json:"seen,omitempty"`    // of a broken one: what was seen
	Skipped string   `json:"skipped,omitempty"` // why it was not looked at
	Seconds float64  `json:"seconds"`
}

func (r *Result) decide(o outcome) {
	r.Seen, r.Skipped = nil, ""
	switch {
	case len(o.seen) > 0:
		r.Status = Broken
		for _, s := range o.seen { // names of files, above all, may hold anything
			r.Seen = append(r.Seen, sdk.Clean(s, 1024))
		}
	case o.skip != "":
		r.Status, r.Skipped = Skipped, o.skip
	default:
		r.Status = Kept
	}
}

// Report is what became of all of them.
type Report struct {
	OK      bool      `json:"ok"` // no rule is broken, and not all were skipped
	Plugin  string    `json:"plugin"`
	Version string    `json:"version"`
	Distro  string    `json:"distro"`
	Release string    `json:"release"`
	Started time.Time `json:"started"`
	Kept    int       `json:"kept"`
	Broken  int       `json:"broken"`
	Skipped int       `json:"skipped"`
	Results []Result  `json:"results"`
}

func (r *Report) count(result Result) {
	switch result.Status {
	case Kept:
		r.Kept++
	case Broken:
		r.Broken++
	case Skipped:
		r.Skipped++
	}
	r.OK = r.Broken == 0 && r.Kept > 0
}

// WriteText writes the report for people: a line for each rule, for each that is
// broken what was seen, what the rule is for and how to meet it, and why others
// were not looked at.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	var reasons []string
	passed := map[string][]string{} // rules by why they were not looked at
	for _, result := range r.Results {
		switch result.Status {
		case Kept:
			fmt.Fprintf(&b, "ok       %s\n", result.ID)
		case Skipped:
			if passed[result.Skipped] == nil {
				reasons = append(reasons, result.Skipped)
			}
			passed[result.Skipped] = append(passed[result.Skipped], result.ID)
		case Broken:
			fmt.Fprintf(&b, "BROKEN   %s: %s\n", result.ID, result.Says)
			for _, s := range result.Seen {
				fmt.Fprintf(&b, "           seen: %s\n", s)
			}
			fmt.Fprintf(&b, "           why:  %s\n           do:   %s\n", result.Why, result.Meet)
		}
	}
	for _, reason := range reasons {
		fmt.Fprintf(&b, "skipped  %s\n           %s\n", strings.Join(passed[reason], " "), reason)
	}
	fmt.Fprintf(&b, "%s %s, asked for %s: %d rules kept, %d broken, %d skipped\n",
		orUnknown(r.Plugin), orUnknown(r.Version), strings.TrimSpace(orUnknown(r.Distro)+" "+r.Release), r.Kept, r.Broken, r.Skipped)
	_, err := io.WriteString(w, b.String())
	return err
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}
