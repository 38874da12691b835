// Package junit writes reports as JUnit does, in the one form that every CI engine
// takes.
package junit

import (
	"encoding/xml"
	"fmt"
	"io"
	"time"
)

// The elements of a report, in the order and with the attributes that the schemas
// of Ant and of Jenkins have in common: what both take, every CI engine does.
type (
	suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []Suite  `xml:"testsuite"`
	}
	// Suite is a group of cases. Write fills in its numbers.
	Suite struct {
		ID         int        `xml:"id,attr"`
		Package    string     `xml:"package,attr"`
		Name       string     `xml:"name,attr"`
		Timestamp  string     `xml:"timestamp,attr"` // see At
		Hostname   string     `xml:"hostname,attr"`
		Tests      int        `xml:"tests,attr"`
		Failures   int        `xml:"failures,attr"`
		Errors     int        `xml:"errors,attr"`
		Skipped    int        `xml:"skipped,attr"`
		Time       string     `xml:"time,attr"` // see Seconds
		Properties Properties `xml:"properties"`
		Cases      []Case     `xml:"testcase"`
		Out        string     `xml:"system-out"`
		Err        string     `xml:"system-err"`
	}
	// Properties are what else is known of a suite.
	Properties struct {
		All []Property `xml:"property"`
	}
	// Property is one of them.
	Property struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	// Case is one case. It has passed unless one of the last three is there.
	Case struct {
		Name    string `xml:"name,attr"`
		Class   string `xml:"classname,attr"`
		Time    string `xml:"time,attr"`
		Skipped *Skip  `xml:"skipped"`
		Error   *Fault `xml:"error"`
		Failure *Fault `xml:"failure"`
	}
	// Skip is why a case was not tried.
	Skip struct {
		Message string `xml:"message,attr,omitempty"`
	}
	// Fault is what was wrong with one.
	Fault struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// Write writes a report.
func Write(w io.Writer, all []Suite) error {
	for i := range all {
		all[i].ID = i
		all[i].count()
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suites{Suites: all}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *Suite) count() {
	s.Tests, s.Failures, s.Errors, s.Skipped = len(s.Cases), 0, 0, 0
	for _, c := range s.Cases {
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
}

// Seconds is a duration as a report has it.
func Seconds(seconds float64) string { return fmt.Sprintf("%.3f", seconds) }

// At is a moment as a report has it.
func At(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }
