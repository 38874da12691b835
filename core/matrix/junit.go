package matrix

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The elements of a JUnit report, in the order and with the attributes that
// the schemas of Ant and of Jenkins have in common: what both take, every CI
// engine does.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		ID         int             `xml:"id,attr"`
		Package    string          `xml:"package,attr"`
		Name       string          `xml:"name,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Hostname   string          `xml:"hostname,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Properties junitProperties `xml:"properties"`
		Cases      []junitCase     `xml:"testcase"`
		Out        string          `xml:"system-out"`
		Err        string          `xml:"system-err"`
	}
	junitProperties struct {
		All []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Skipped *junitSkipped `xml:"skipped"`
		Error   *junitFault   `xml:"error"`
		Failure *junitFault   `xml:"failure"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr,omitempty"`
	}
	junitFault struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes a report as JUnit does: a suite for each job, a case for
// building it and one for each check of its image.
func WriteJUnit(w io.Writer, r *Report) error {
	all := junitSuites{}
	for i, res := range r.Jobs {
		all.Suites = append(all.Suites, suiteOf(r, i, res))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func suiteOf(r *Report, id int, res Result) junitSuite {
	started := res.Started
	if started.IsZero() {
		started = r.Started
	}
	host := r.Host
	if host == "" {
		host = "localhost"
	}
	s := junitSuite{
		ID: id, Package: "nspawn-build", Name: res.Name, Timestamp: started.UTC().Format("2006-01-02T15:04:05"), Hostname: host,
		Time: junitTime(res.Seconds), Properties: propertiesOf(r, res), Cases: []junitCase{buildCase(res)},
	}
	if res.Image != nil && res.Image.Verify != nil {
		for _, c := range res.Image.Verify.Checks {
			s.Cases = append(s.Cases, checkCase(res, c))
		}
	}
	for _, c := range s.Cases {
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	if res.Log != "" {
		s.Out = "the log is " + res.Log
	}
	return s
}

func junitTime(seconds float64) string { return fmt.Sprintf("%.3f", seconds) }

func propertiesOf(r *Report, res Result) junitProperties {
	var p junitProperties
	add := func(name, value string) {
		if value != "" {
			p.All = append(p.All, junitProperty{name, plain(value)})
		}
	}
	add("distro", res.Distro)
	add("release", res.Release)
	add("variant", res.Variant)
	add("base", res.Base)
	for _, key := range sorted(res.Labels) {
		add("label."+key, res.Labels[key])
	}
	add("matrix", r.File.Name)
	add("nspawn-build", r.Program)
	if img := res.Image; img != nil {
		add("digest", img.Digest)
		for _, a := range img.Artifacts {
			add("artifact."+a.Format, a.Path)
			add("sha256."+a.Format, a.SHA256)
			add("size."+a.Format, fmt.Sprint(a.Size))
		}
		if img.Cache.Key != "" {
			add("cache", map[bool]string{true: "hit", false: "miss"}[img.Cache.Hit])
		}
	}
	return p
}

// buildCase is the case of building the image. An image that was built and then
// did not pass fails in its checks.
func buildCase(res Result) junitCase {
	c := junitCase{Name: "build", Class: res.Name, Time: junitTime(res.Seconds - verifySeconds(res))}
	switch {
	case res.Status == Done || res.Status == Failed && unfit(res):
	case res.Status == Failed:
		c.Failure = &junitFault{plain(res.Reason), fmt.Sprintf("exit %d", res.Exit), failureText(res)}
	case res.Status == Skipped:
		c.Skipped = &junitSkipped{plain(res.Reason)}
	default:
		c.Error = &junitFault{plain(res.Reason), string(res.Status), failureText(res)}
	}
	return c
}

// unfit says that what is wrong with a job is that its image does not pass.
func unfit(res Result) bool {
	return res.Image != nil && res.Image.Verify != nil && !res.Image.Verify.OK && failedCheck(res.Image.Verify) != ""
}

func failedCheck(v *Verify) string {
	for _, c := range v.Checks {
		if !c.OK && !c.Skipped {
			return c.Name
		}
	}
	return ""
}

func verifySeconds(res Result) (sum float64) {
	if res.Image != nil && res.Image.Verify != nil {
		for _, c := range res.Image.Verify.Checks {
			sum += c.Seconds
		}
	}
	return min(sum, res.Seconds)
}

func failureText(res Result) string {
	var b strings.Builder
	for _, line := range []string{res.Reason, hintLine(res.Hint)} {
		if line != "" {
			b.WriteString(plain(line) + "\n")
		}
	}
	if len(res.Tail) > 0 {
		b.WriteString("\nthe end of its log:\n" + strings.Join(res.Tail, "\n") + "\n")
	}
	return b.String()
}

func hintLine(hint string) string {
	if hint == "" {
		return ""
	}
	return "hint: " + hint
}

func checkCase(res Result, c Check) junitCase {
	out := junitCase{Name: plain(c.Name), Class: res.Name, Time: junitTime(c.Seconds)}
	if out.Name == "" {
		out.Name = "check"
	}
	if c.Skipped {
		out.Skipped = &junitSkipped{plain(c.Detail)}
		return out
	}
	if !c.OK {
		lines := []string{plain(c.Detail)}
		for _, l := range c.shown() {
			lines = append(lines, plain(l))
		}
		out.Failure = &junitFault{plain(c.Detail), "check", strings.Join(lines, "\n") + "\n"}
	}
	return out
}

// took is a duration as a report shows it.
func took(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", seconds)
	}
	return d.Round(time.Second).String()
}
