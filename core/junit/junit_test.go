package junit_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/junit"
)

// The elements as the schemas of Ant and Jenkins have them: which attributes
// each must have, and in which order what is inside.
var form = map[string]struct {
	must  []string
	order []string
}{
	"testsuites": {nil, []string{"testsuite"}},
	"testsuite":  {[]string{"id", "package", "name", "timestamp", "hostname", "tests", "failures", "errors", "time"}, []string{"properties", "testcase", "system-out", "system-err"}},
	"properties": {nil, []string{"property"}},
	"property":   {[]string{"name", "value"}, nil},
	"testcase":   {[]string{"name", "classname", "time"}, []string{"skipped", "error", "failure"}},
	"skipped":    {nil, nil}, "error": {[]string{"message", "type"}, nil}, "failure": {[]string{"message", "type"}, nil},
	"system-out": {nil, nil}, "system-err": {nil, nil},
}

// checkJUnit holds a report against the form.
func check(t *testing.T, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	var above []string
	last := []int{0}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("it is no XML: %v\n%s", err, data)
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			element, known := form[name]
			if !known {
				t.Errorf("there is no element %s", name)
			}
			if len(above) == 0 {
				if name != "testsuites" {
					t.Errorf("its root is %s", name)
				}
			} else {
				at := slices.Index(form[above[len(above)-1]].order, name)
				if at < last[len(last)-1] {
					t.Errorf("%s is in %s, or in the wrong order", name, above[len(above)-1])
				}
				last[len(last)-1] = at
			}
			for _, must := range element.must {
				if !slices.ContainsFunc(e.Attr, func(a xml.Attr) bool {
					return a.Name.Local == must && (a.Value != "" || must == "value" || must == "message")
				}) {
					t.Errorf("%s has no %s", name, must)
				}
			}
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "time":
					if _, err := strconv.ParseFloat(a.Value, 64); err != nil {
						t.Error(err)
					}
				case "timestamp":
					if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`).MatchString(a.Value) {
						t.Errorf("%q is no timestamp", a.Value)
					}
				}
			}
			above, last = append(above, name), append(last, 0)
		case xml.EndElement:
			above, last = above[:len(above)-1], last[:len(last)-1]
		}
	}
}

// hostile is what may be in what is reported.
const hostile = "]]><script>alert(1)</script>&\"'\x1b[31m\x00\xff"

func TestAReportHasTheFormThatEveryEngineTakes(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 2, 3, 0, time.FixedZone("", 7200))
	suite := func(name string, cases ...junit.Case) junit.Suite {
		return junit.Suite{
			Package: "nspawn-build", Name: name, Timestamp: junit.At(at), Hostname: "runner", Time: junit.Seconds(12.3456),
			Properties: junit.Properties{All: []junit.Property{{Name: "team", Value: hostile}, {Name: "none"}}}, Cases: cases, Out: hostile, Err: hostile,
		}
	}
	one := func(name string) junit.Case {
		return junit.Case{Name: name + hostile, Class: "c", Time: junit.Seconds(0)}
	}
	failed, wrong, skipped := one("failed"), one("wrong"), one("skipped")
	failed.Failure = &junit.Fault{Message: hostile, Type: "failed", Text: hostile}
	wrong.Error = &junit.Fault{Type: "error"}
	skipped.Skipped = &junit.Skip{Message: hostile}
	var b bytes.Buffer
	if err := junit.Write(&b, []junit.Suite{suite("a", one("fine"), failed, wrong, skipped), suite("b")}); err != nil {
		t.Fatal(err)
	}
	check(t, b.Bytes())
	for _, part := range []string{`id="0"`, `id="1"`, `tests="4" failures="1" errors="1" skipped="1"`, `time="12.346"`, `timestamp="2026-11-25T23:02:03"`} {
		if !bytes.Contains(b.Bytes(), []byte(part)) {
			t.Errorf("it does not say %s: %s", part, &b)
		}
	}
	b.Reset()
	if err := junit.Write(&b, nil); err != nil {
		t.Fatal(err)
	}
	check(t, b.Bytes())
}
