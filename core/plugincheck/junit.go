package plugincheck

import (
	"io"
	"os"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/junit"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
)

// WriteJUnit writes a report as JUnit does: a suite for each group of rules that
// was run, a case for each rule.
func WriteJUnit(w io.Writer, r conformance.Report) error {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	var all []junit.Suite
	seconds := 0.0
	for _, result := range r.Results {
		if len(all) == 0 || all[len(all)-1].Name != result.Group {
			all = append(all, junit.Suite{
				Package: "nspawn-build-plugin-" + r.Plugin, Name: result.Group, Timestamp: junit.At(r.Started), Hostname: host,
				Properties: junit.Properties{All: []junit.Property{
					{Name: "version", Value: r.Version}, {Name: "distro", Value: r.Distro}, {Name: "release", Value: r.Release},
				}},
			})
			seconds = 0
		}
		suite := &all[len(all)-1]
		seconds += result.Seconds
		suite.Time = junit.Seconds(seconds)
		suite.Cases = append(suite.Cases, caseOf(result))
	}
	return junit.Write(w, all)
}

func caseOf(r conformance.Result) junit.Case {
	c := junit.Case{Name: r.ID, Class: r.Group, Time: junit.Seconds(r.Seconds)}
	switch r.Status {
	case conformance.Skipped:
		c.Skipped = &junit.Skip{Message: r.Skipped}
	case conformance.Broken:
		c.Failure = &junit.Fault{
			Message: r.Seen[0], Type: r.ID,
			Text: strings.Join([]string{r.Says, "seen: " + strings.Join(r.Seen, "\n      "), "why: " + r.Why, "do: " + r.Meet}, "\n") + "\n",
		}
	}
	return c
}
