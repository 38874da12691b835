package matrix

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/junit"
)

// WriteJUnit writes a report as JUnit does: a suite for each job, a case for
// building it and one for each check of its image.
func WriteJUnit(w io.Writer, r *Report) error {
	var all []junit.Suite
	for _, res := range r.Jobs {
		all = append(all, suiteOf(r, res))
	}
	return junit.Write(w, all)
}

func suiteOf(r *Report, res Result) junit.Suite {
	started := res.Started
	if started.IsZero() {
		started = r.Started
	}
	host := r.Host
	if host == "" {
		host = "localhost"
	}
	s := junit.Suite{
		Package: "nspawn-build", Name: res.Name, Timestamp: junit.At(started), Hostname: host,
		Time: junit.Seconds(res.Seconds), Properties: propertiesOf(r, res), Cases: []junit.Case{buildCase(res)},
	}
	if res.Image != nil && res.Image.Verify != nil {
		for _, c := range res.Image.Verify.Checks {
			s.Cases = append(s.Cases, checkCase(res, c))
		}
	}
	if res.Log != "" {
		s.Out = "the log is " + res.Log
	}
	return s
}

func propertiesOf(r *Report, res Result) junit.Properties {
	var p junit.Properties
	add := func(name, value string) {
		if value != "" {
			p.All = append(p.All, junit.Property{Name: name, Value: plain(value)})
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
func buildCase(res Result) junit.Case {
	c := junit.Case{Name: "build", Class: res.Name, Time: junit.Seconds(res.Seconds - verifySeconds(res))}
	switch {
	case res.Status == Done || res.Status == Failed && unfit(res):
	case res.Status == Failed:
		c.Failure = &junit.Fault{Message: plain(res.Reason), Type: fmt.Sprintf("exit %d", res.Exit), Text: failureText(res)}
	case res.Status == Skipped:
		c.Skipped = &junit.Skip{Message: plain(res.Reason)}
	default:
		c.Error = &junit.Fault{Message: plain(res.Reason), Type: string(res.Status), Text: failureText(res)}
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

func checkCase(res Result, c Check) junit.Case {
	out := junit.Case{Name: plain(c.Name), Class: res.Name, Time: junit.Seconds(c.Seconds)}
	if out.Name == "" {
		out.Name = "check"
	}
	if c.Skipped {
		out.Skipped = &junit.Skip{Message: plain(c.Detail)}
		return out
	}
	if !c.OK {
		lines := []string{plain(c.Detail)}
		for _, l := range c.shown() {
			lines = append(lines, plain(l))
		}
		out.Failure = &junit.Fault{Message: plain(c.Detail), Type: "check", Text: strings.Join(lines, "\n") + "\n"}
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
