//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// matrixed is what matrix prints with --output json.
type matrixed struct {
	Interrupted bool
	Jobs        []matrixJob
}

type matrixJob struct {
	Name, Base, Status, Reason, Log string
	Exit                            int
	Resumed                         bool
	Tail                            []string
	Image                           *struct {
		Digest    string
		Artifacts []struct{ Format, Path, SHA256 string }
		Pushed    []string
		Cache     struct {
			Hit         bool
			Key, Reason string
		}
		Verify *struct {
			OK     bool
			Checks []struct {
				Name   string
				OK     bool
				Output []string
			}
		}
	}
}

func (m matrixed) job(t *testing.T, name string) matrixJob {
	t.Helper()
	i := slices.IndexFunc(m.Jobs, func(j matrixJob) bool { return j.Name == name })
	if i < 0 {
		t.Fatalf("there is no %s in %+v", name, m)
	}
	return m.Jobs[i]
}

// matrixLine is the command line that builds the matrix of /srv/images.yaml.
func matrixLine(more ...string) testhost.Command {
	args := append([]string{"nspawn-build", "matrix", "--file", "/srv/images.yaml", "--out", "/srv/results", "--output", "json"}, more...)
	return testhost.Command{Args: args, Timeout: 20 * time.Minute}
}

func matrix(t *testing.T, h *testhost.Host, exit int, more ...string) matrixed {
	t.Helper()
	r := want(t, exit, h.RunCommand(t, matrixLine(more...)))
	var m matrixed
	if err := json.Unmarshal([]byte(r.Stdout), &m); err != nil {
		t.Fatalf("matrix did not print JSON: %v: %s", err, r)
	}
	return m
}

func TestOnePoisonedImageOfAMatrixFailsAlone(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/srv/images.yaml", `version: 1
defaults:
  image: {format: [tar], source-date-epoch: 1700000000}
  labels: {team: ci}
distros: [fixture]
variants:
  - name: plain
    image: {verify: true}
  - name: web
    base: plain
    customize: {script: [web.sh]}
  - name: poisoned
    customize: {script: [poison.sh]}
  - name: never
    options: {fail: before}
  - name: on-never
    base: never
include:
  - name: squashed
    distro: fixture
    image: {format: [squashfs, tar.zst]}
  - name: unfit
    distro: fixture
    image: {check: ["echo the check says this; exit 3"]}
`, "0644")
	h.WriteFile(t, "/srv/web.sh", "#!/bin/sh\ntest ! -e /opt/web && echo web >/opt/web\n", "0755")
	// It kills all that it can see, and takes its own log for a drain.
	h.WriteFile(t, "/srv/poison.sh", "#!/bin/sh\nseq 1 20000\necho the last words\nkill -9 -1\nkill -9 $$\n", "0755")
	before := h.Calm(t)

	m := matrix(t, h, exitConfigure, "--jobs", "2", "--junit", "/srv/junit.xml", "--html", "/srv/results/index.html")
	for name, status := range map[string]string{
		"fixture-plain": "done", "fixture-web": "done", "squashed": "done",
		"fixture-poisoned": "failed", "fixture-never": "failed", "fixture-on-never": "skipped", "unfit": "failed",
	} {
		if got := m.job(t, name); got.Status != status {
			t.Errorf("%s is %s, want %s: %s", name, got.Status, status, got.Reason)
		}
	}
	t.Run("with its log", func(t *testing.T) {
		bad := m.job(t, "fixture-poisoned")
		if log := h.ReadFile(t, "/srv/results/"+bad.Log); bad.Exit != exitConfigure || !strings.Contains(log, "the last words") {
			t.Errorf("exit %d, and the log of %d bytes ends so: %q", bad.Exit, len(log), bad.Tail)
		}
		never := m.job(t, "fixture-never")
		if never.Exit != exitBootstrap || !strings.Contains(never.Reason, "on purpose") || !slices.ContainsFunc(never.Tail, func(l string) bool { return strings.Contains(l, "the last line of the fixture") }) {
			t.Errorf("%+v", never)
		}
		if why := m.job(t, "fixture-on-never").Reason; !strings.Contains(why, "fixture-never") {
			t.Errorf("it was skipped for %q", why)
		}
	})
	t.Run("with what was checked", func(t *testing.T) {
		good, unfit := m.job(t, "fixture-plain"), m.job(t, "unfit")
		if v := good.Image.Verify; v == nil || !v.OK || len(v.Checks) < 5 {
			t.Errorf("%+v", v)
		}
		v := unfit.Image.Verify
		if unfit.Exit != exitUnreachable || v == nil || v.OK {
			t.Fatalf("exit %d, %+v, %s", unfit.Exit, v, unfit.Reason)
		}
		for _, c := range v.Checks {
			if mine := strings.HasPrefix(c.Name, "check: "); c.OK == mine || mine && !slices.Equal(c.Output, []string{"the check says this"}) {
				t.Errorf("%+v", c)
			}
		}
	})
	t.Run("images are where the results say", func(t *testing.T) {
		for _, j := range m.Jobs {
			if j.Image == nil || j.Status != "done" {
				continue
			}
			for _, a := range j.Image.Artifacts {
				if sum := h.MustRun(t, "sha256sum", "/srv/results/"+a.Path); !strings.HasPrefix(sum, a.SHA256) {
					t.Errorf("%s is not %s but %s", a.Path, a.SHA256, sum)
				}
			}
		}
		if len(m.job(t, "squashed").Image.Artifacts) != 2 {
			t.Errorf("%+v", m.job(t, "squashed").Image)
		}
	})
	t.Run("one is built on another", func(t *testing.T) {
		web := m.job(t, "fixture-web").Image
		if got := h.MustRun(t, "tar", "-xOf", "/srv/results/"+web.Artifacts[0].Path, "./opt/web"); got != "web\n" {
			t.Errorf("it has %q", got)
		}
	})
	t.Run("reports are written", func(t *testing.T) {
		junit, page := h.ReadFile(t, "/srv/junit.xml"), h.ReadFile(t, "/srv/results/index.html")
		if strings.Count(junit, "<testsuite ") != 7 || strings.Count(junit, "<failure ") != 3 || strings.Count(junit, "<skipped ") != 1 || !strings.Contains(junit, "the last words") {
			t.Errorf("the JUnit report is %.2000s", junit)
		}
		if !strings.Contains(page, `href="./jobs/fixture-poisoned/log"`) {
			t.Error("the page does not lead to the log")
		}
	})
	t.Run("what is done is not built again", func(t *testing.T) {
		h.WriteFile(t, "/srv/poison.sh", "#!/bin/sh\necho an antidote\n", "0755")
		again := matrix(t, h, exitBootstrap, "--resume")
		for _, j := range again.Jobs {
			if done := m.job(t, j.Name).Status == "done"; j.Resumed != done {
				t.Errorf("%s, which was done before: %v, is resumed: %v", j.Name, done, j.Resumed)
			}
		}
		if j := again.job(t, "fixture-poisoned"); j.Status != "done" {
			t.Errorf("%+v", j)
		}
	})
	t.Run("the same is built again where it was", func(t *testing.T) {
		again := matrix(t, h, exitDone, "--only", "fixture-web")
		for _, name := range []string{"fixture-plain", "fixture-web"} {
			if j := again.job(t, name); j.Resumed || j.Image == nil || j.Image.Digest != m.job(t, name).Image.Digest {
				t.Errorf("%+v", j)
			}
		}
	})
	t.Run("on a terminal each has a row", func(t *testing.T) {
		r := want(t, exitDone, h.RunCommand(t, testhost.Command{
			Args: []string{"script", "-qec", "stty cols 100 rows 24; nspawn-build matrix -f /srv/images.yaml -o /srv/results --only squashed", "/dev/null"}, Timeout: 10 * time.Minute,
		}))
		for _, part := range []string{"squashed       0s", "bootstrap", "write: squashfs", "0 of 1\x1b[K", "\x1b[2A", "squashed: done in", "IMAGE     RESULT"} {
			if !strings.Contains(r.Stdout, part) {
				t.Errorf("%q is not shown: %q", part, r.Stdout)
			}
		}
	})
	h.MustRun(t, "sh", "-c", "rm -r /srv/results /srv/junit.xml")
	nothingLeft(t, h, before)
}

func TestAMatrixIsFannedOutAndItsResultsAreJoined(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/srv/images.yaml", `version: 1
defaults: {image: {format: [tar], source-date-epoch: 1700000000}}
distros: [fixture]
variants: [{name: low}, {name: high, base: low, customize: {hook: ["after:network:echo high >/opt/high"]}}, {name: more}]
`, "0644")
	var fan struct {
		Include []struct{ Name, Command string }
	}
	out := want(t, exitDone, h.Run(t, "sh", "-c", "cd /srv && nspawn-build matrix --file images.yaml --emit github")).Stdout
	if err := json.Unmarshal([]byte(out), &fan); err != nil || len(fan.Include) != 3 {
		t.Fatalf("%v: %s", err, out)
	}
	// Each runner has a checkout of its own, elsewhere.
	for _, j := range fan.Include[:2] {
		h.MustRun(t, "sh", "-c", "mkdir -p /opt/runner-"+j.Name+" && cp /srv/images.yaml /opt/runner-"+j.Name)
		r := h.RunCommand(t, testhost.Command{Args: []string{"sh", "-c", "cd /opt/runner-" + j.Name + " && " + j.Command}, Timeout: 10 * time.Minute})
		want(t, exitDone, r)
	}
	r := want(t, 1, h.Run(t, "sh", "-c", "nspawn-build matrix merge /opt/runner-*/matrix-results --out /srv/joined --junit /srv/joined/junit.xml --html /srv/joined/index.html --output json"))
	var m matrixed
	if err := json.Unmarshal([]byte(r.Stdout), &m); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	if m.job(t, "fixture-low").Status != "done" || m.job(t, "fixture-high").Status != "done" || m.job(t, "fixture-more").Status != "missing" {
		t.Errorf("%+v", m)
	}
	if !strings.Contains(r.Stderr, "no runner has a result of fixture-more") {
		t.Errorf("it is not said what is missing: %s", r)
	}
	h.MustRun(t, "test", "-s", "/srv/joined/junit.xml", "-a", "-s", "/srv/joined/index.html", "-a", "-s", "/srv/joined/jobs/fixture-high/log")

	// As a child pipeline of GitLab does it: the base comes from its own job.
	first := m.job(t, "fixture-low").Image.Digest
	h.MustRun(t, "sh", "-c", "mkdir -p /opt/gitlab/matrix-results/jobs && cd /opt/gitlab && cp /srv/images.yaml . && cp -R /opt/runner-fixture-low/matrix-results/jobs/fixture-low matrix-results/jobs/")
	r = want(t, exitDone, h.RunCommand(t, testhost.Command{
		Args: []string{"sh", "-c", "cd /opt/gitlab && nspawn-build matrix --file images.yaml --only fixture-high --out matrix-results --resume --output json"}, Timeout: 10 * time.Minute,
	}))
	m = matrixed{}
	if err := json.Unmarshal([]byte(r.Stdout), &m); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	if low := m.job(t, "fixture-low"); !low.Resumed || low.Image.Digest != first {
		t.Errorf("the base was built again: %+v", low)
	}
}

func TestAnInterruptedMatrixLeavesItsResultsAndNothingElse(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/srv/images.yaml", `version: 1
defaults: {image: {format: [tar]}}
distros: [fixture]
variants: [{name: quick}, {name: slow, options: {delay: 10m}}, {name: asleep, customize: {script: [sleep.sh]}}, {name: last}]
`, "0644")
	h.WriteFile(t, "/srv/sleep.sh", "#!/bin/sh\necho asleep\nsleep 1000\n", "0755")
	before := h.Calm(t)
	for name, end := range map[string]struct {
		signal syscall.Signal
		exit   int
	}{"by an interrupt": {syscall.SIGINT, exitInterrupted}, "by a kill": {syscall.SIGKILL, -1}} {
		t.Run(name, func(t *testing.T) {
			c := matrixLine("--jobs", "2", "--log-format", "json")
			p := h.Start(t, c)
			awaitText(t, p, "fixture-quick: done")
			awaitText(t, p, "fixture-asleep: customize")
			if err := p.Signal(end.signal); err != nil {
				t.Fatal(err)
			}
			r := p.Wait(t, time.Minute)
			var m matrixed
			if end.signal == syscall.SIGINT {
				want(t, end.exit, r)
				if err := json.Unmarshal([]byte(r.Stdout), &m); err != nil {
					t.Fatalf("%v: %s", err, r)
				}
				for job, status := range map[string]string{"fixture-quick": "done", "fixture-slow": "stopped", "fixture-asleep": "stopped", "fixture-last": "skipped"} {
					if got := m.job(t, job).Status; got != status {
						t.Errorf("%s is %s, want %s", job, got, status)
					}
				}
			} else if err := json.Unmarshal([]byte(h.ReadFile(t, "/srv/results/results.json")), &m); err != nil || m.job(t, "fixture-quick").Status != "done" {
				t.Errorf("%v: %+v", err, m)
			}
			h.Eventually(t, 30*time.Second, "sh", "-c", "! pgrep -x sleep && ! pgrep -f 'nspawn-build imag[e]'")
			again := matrix(t, h, exitDone, "--resume", "--only", "fixture-quick", "--only", "fixture-last")
			if !again.job(t, "fixture-quick").Resumed || again.job(t, "fixture-last").Status != "done" {
				t.Errorf("%+v", again)
			}
			if left := h.MustRun(t, "find", "/srv/results", "-name", ".*", "-not", "-name", "."); end.signal == syscall.SIGINT && left != "" {
				t.Errorf("this is left: %s", left)
			}
			h.MustRun(t, "rm", "-rf", "/srv/results")
			nothingLeft(t, h, before)
		})
	}
}

// source is what a spec file says of where the packages of a distribution come
// from, as a mapping in one line.
func (d distribution) source(t *testing.T, h *testhost.Host) string {
	t.Helper()
	said := []string{"distro: " + d.name}
	flags := d.sources(t, h)
	for i := 0; i < len(flags); i += 2 {
		switch flags[i] {
		case "--mirror":
			said = append(said, fmt.Sprintf("mirrors: [%q]", flags[i+1]))
		case "--keyring":
			said = append(said, "keyring: "+flags[i+1])
		}
	}
	if d.release != "" {
		said = append(said, fmt.Sprintf("releases: [%q]", d.release))
	}
	return "{" + strings.Join(said, ", ") + "}"
}

// TestAMatrixOfEveryDistributionIsBuiltTwoAtATime is the scenario of the
// matrix: five releases of three families on a host without systemd.
func TestAMatrixOfEveryDistributionIsBuiltTwoAtATime(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{}, arch, fedora)))
	h.WriteFile(t, "/srv/images.yaml", `version: 1
defaults: {image: {format: [tar.zst], verify: true}}
distros:
  - {distro: debian, releases: [bookworm, trixie, sid]}
  - `+arch.source(t, h)+`
  - `+fedora.source(t, h)+`
include:
  - {name: poisoned, distro: debian, release: trixie, packages: [there-is-no-such-package]}
`, "0644")
	before := h.Calm(t)
	m := matrix(t, h, exitBootstrap, "--jobs", "2", "--junit", "/srv/junit.xml", "--html", "/srv/results/index.html")
	if len(m.Jobs) != 6 {
		t.Errorf("there are %d", len(m.Jobs))
	}
	for _, j := range m.Jobs {
		if (j.Name == "poisoned") != (j.Status == "failed") || j.Name != "poisoned" && j.Status != "done" {
			t.Errorf("%s is %s: %s\n%s", j.Name, j.Status, j.Reason, strings.Join(j.Tail, "\n"))
		}
		if j.Status == "done" {
			if v := j.Image.Verify; v == nil || !v.OK || len(v.Checks) < 5 {
				t.Errorf("%s was not verified: %+v", j.Name, v)
			}
			if id := h.MustRun(t, "tar", "--zstd", "-xOf", "/srv/results/"+j.Image.Artifacts[0].Path, "./usr/lib/os-release"); !strings.Contains(id, "ID="+strings.SplitN(j.Name, "-", 2)[0]) {
				t.Errorf("%s says that it is %s", j.Name, id)
			}
		}
	}
	if log := h.ReadFile(t, "/srv/results/"+m.job(t, "poisoned").Log); !strings.Contains(log, "there-is-no-such-package") {
		t.Errorf("its log does not say why: %s", log)
	}
	if junit := h.ReadFile(t, "/srv/junit.xml"); strings.Count(junit, "<testsuite ") != 6 || strings.Count(junit, "<failure ") != 1 {
		t.Errorf("the JUnit report is %.2000s", junit)
	}
	page := h.ReadFile(t, "/srv/results/index.html")
	rows := regexp.MustCompile(`(?s)<tr><th scope="row">.*?</tr>`).FindAllString(page, -1)
	if len(rows) != 5 {
		t.Errorf("the grid has %d rows: %.5000s", len(rows), page)
	}
	for _, j := range m.Jobs {
		cell := fmt.Sprintf(`<a href="#%s">%s</a> <span class="status %s">`, j.Name, j.Name, j.Status)
		in := slices.IndexFunc(rows, func(row string) bool { return strings.Contains(row, cell) })
		if in < 0 || j.Name == "poisoned" && !strings.Contains(rows[in], ">debian trixie<") {
			t.Errorf("the grid does not say of %s that it is %s: %q", j.Name, j.Status, rows)
		}
	}
	h.MustRun(t, "sh", "-c", "rm -r /srv/results /srv/junit.xml")
	nothingLeft(t, h, before)
}
