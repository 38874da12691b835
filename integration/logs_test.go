//go:build integration

package integration

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestLogsAreChosenAsByJournalctl(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			create(t, h, fixture("box")...)
			h.MustRun(t, "nspawn-build", "exec", "box", "mkdir", "-p", "/var/log/journal")
			h.MustRun(t, "nspawn-build", "restart", "box")
			h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-ec", `
				systemd-run --quiet --wait --unit=first --description=x sh -c 'echo first-says; printf "<3>first-fails\n"'
				systemd-run --quiet --wait --unit=second --description=x echo second-says
				printf '\033]0;title\007coloured \033[31mred\n' | systemd-cat -t third
				journalctl --sync`)
			chosen(t, h)
			t.Run("those to come", func(t *testing.T) { followed(t, h) })

			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			t.Run("of a machine that is off", func(t *testing.T) {
				chosen(t, h)
				want(t, exitBoot, h.Run(t, "nspawn-build", "logs", "-f", "box"))
				h.MustRun(t, "nspawn-build", "start", "box")
				h.MustRun(t, "nspawn-build", "exec", "box", "journalctl", "--sync")
				for _, state := range []string{"running", "stopped"} {
					if out := h.MustRun(t, "nspawn-build", "logs", "-b", "box"); strings.Contains(out, "first-says") || !strings.Contains(out, "systemd") {
						t.Errorf("%s: the last boot is another:\n%s", state, out)
					}
					if out := h.MustRun(t, "nspawn-build", "logs", "-b", "-1", "box"); !strings.Contains(out, "first-says") {
						t.Errorf("%s: the boot before is another:\n%s", state, out)
					}
					h.MustRun(t, "nspawn-build", "stop", "box")
				}
			})
			t.Run("never through a link out of the tree", func(t *testing.T) { linkedOut(t, h) })
		})
	}
}

// chosen asks for parts of a journal that holds a message of each of three units.
func chosen(t *testing.T, h *testhost.Host) {
	t.Helper()
	for _, c := range []struct{ args, has, lacks string }{
		{"-n all", "first-says second-says coloured", ""},
		{"--unit first", "first-says", "second-says"},
		{"-u first -u second.service", "first-says second-says", "coloured"},
		{"-u fir*", "first-says", "second-says"},
		{"-u first -p err", "first-fails", "first-says"},
		{"-u first --priority warning..info", "first-says", "first-fails"},
		{"--grep second-s[a]ys", "second-says", "first-says"},
		{"--since -1h --until tomorrow", "first-says", ""},
		{"--since tomorrow", "", "first-says"},
		{"--until yesterday", "", "first-says"},
		{"-u second -n 1 -o cat", "", "first-says"},
		{"-u first -o json", `"MESSAGE":"first-says"`, ""},
		{"-u first -o export", "MESSAGE=first-says", ""},
		{"-b", "first-says", ""},
	} {
		args := append([]string{"nspawn-build", "logs", "box"}, strings.Fields(c.args)...)
		r := h.Run(t, args...)
		for _, word := range strings.Fields(c.has) {
			if r.Exit != exitDone || !strings.Contains(r.Stdout, word) {
				t.Errorf("logs %s: %q is missing: %s", c.args, word, r)
			}
		}
		if c.lacks != "" && strings.Contains(r.Stdout, c.lacks) {
			t.Errorf("logs %s: %q is there: %s", c.args, c.lacks, r)
		}
	}
	if r := h.Run(t, "nspawn-build", "logs", "-o", "cat", "-n", "all", "box"); !strings.Contains(r.Stdout, "coloured red") || strings.ContainsAny(r.Stdout, "\x1b\x07") {
		t.Errorf("a terminal is told things: %q", r.Stdout)
	}
	for _, bad := range []string{
		"--unit a/b", "--since lately", "--until 2026-02-30", "--boot last", "--boot=", "--lines 0", "--priority bad", "--output xml", "--grep=",
		"--console --follow", "--console --unit first",
	} {
		r := h.Run(t, append([]string{"nspawn-build", "logs", "box"}, strings.Fields(bad)...)...)
		if r.Exit != exitUsage || r.Stdout != "" || bad != "--boot=" && !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("logs %s: %s", bad, r)
		}
	}
}

// followed reads what comes while it waits for it.
func followed(t *testing.T, h *testhost.Host) {
	p := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "logs", "-f", "-u", "later", "-o", "cat", "box"}})
	came := false
	for i := 0; i < 30 && !came; i++ { // it may come before anybody waits for it
		h.MustRun(t, "nspawn-build", "exec", "box", "systemd-run", "--quiet", "--wait", "--unit=later", "echo", "it-came")
		came = p.Await(p.Stdout, 2*time.Second, func(text string) bool { return strings.Contains(text, "it-came") })
	}
	if !came {
		t.Error("what comes is not printed")
	}
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if r := p.Wait(t, time.Minute); r.Exit != exitInterrupted {
		t.Errorf("^C: %s", r)
	}
}

// linkedOut has a machine lead its journal to files of the host.
func linkedOut(t *testing.T, h *testhost.Host) {
	tree := strings.TrimSpace(h.MustRun(t, "sh", "-c", "ls -d /root/containers/box /var/lib/machines/box 2>/dev/null | head -n1"))
	// A journal of the host's own, which could be read.
	h.MustRun(t, "sh", "-ec", `mkdir -p /root/other; cd "$1/var/log/journal"; cp */*.journal /root/other/; rm -rf ./*; mkdir 0123; ln -s /root/other/system.journal 0123/; ln -s /root/other 4567`, "sh", tree)
	r := h.Run(t, "nspawn-build", "logs", "-n", "all", "-o", "cat", "box")
	if strings.Contains(r.Stdout, "first-says") {
		t.Errorf("it is read through a link: %s", r)
	}
	want(t, exitBoot, h.Run(t, "nspawn-build", "logs", "--unit", "first", "box"))
	want(t, exitDone, h.Run(t, "nspawn-build", "logs", "--console", "box"))
}
