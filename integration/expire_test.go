//go:build integration

package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// The units that `make install` puts on a host.
const (
	expireService = "nspawn-build-expire.service"
	expireTimer   = "nspawn-build-expire.timer"
)

func TestTheTimerDestroysMachinesWhoseTimeIsOver(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.MustRun(t, "systemctl", "daemon-reload")
	if r := h.Run(t, "systemctl", "is-enabled", expireTimer); strings.TrimSpace(r.Stdout) != "disabled" {
		t.Errorf("nobody enabled it: %s", r)
	}
	if r := h.Run(t, "systemd-analyze", "verify", "--man=no", expireService, expireTimer); r.Exit != 0 || strings.Contains(r.Stderr, "nspawn-build") {
		t.Errorf("systemd finds fault with the units: %s", r)
	}
	before := h.Snapshot(t)
	makeSeveral(t, h, map[string][]string{"old": {"--ttl", "1h"}, "young": {"--no-boot", "--ttl", "1h"}})
	expire(t, h, "old")
	h.MustRun(t, "systemctl", "start", expireService) // returns when it is done
	if got := names(list(t, h)); got != "young" {
		t.Errorf("left are %q", got)
	}

	// What the timer starts when it is enabled is that service.
	expire(t, h, "young")
	h.MustRun(t, "systemctl", "enable", "--now", "--quiet", expireTimer)
	if unit := h.MustRun(t, "systemctl", "show", "--property=Triggers", "--value", expireTimer); strings.TrimSpace(unit) != expireService {
		t.Errorf("the timer starts %q", unit)
	}
	// Its five minutes pass at once.
	h.MustRun(t, "mkdir", "-p", "/run/systemd/system/"+expireTimer+".d")
	h.WriteFile(t, "/run/systemd/system/"+expireTimer+".d/soon.conf", "[Timer]\nOnActiveSec=1s\nAccuracySec=1s\n", "0644")
	h.MustRun(t, "systemctl", "daemon-reload")
	h.MustRun(t, "systemctl", "restart", expireTimer)
	h.Eventually(t, time.Minute, "sh", "-c", "! test -e /var/lib/nspawn-build/machines/young.json")

	h.MustRun(t, "systemctl", "disable", "--now", "--quiet", expireTimer)
	h.Eventually(t, time.Minute, "sh", "-c", "! systemctl is-active "+expireService)
	h.MustRun(t, "rm", "-r", "/run/systemd/system/"+expireTimer+".d")
	h.MustRun(t, "systemctl", "daemon-reload")
	nothingLeft(t, h, before)
}

func TestLinesAreCompletedWithTheMachinesOfTheHost(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	makeSeveral(t, h, map[string][]string{"box1": {"--no-boot"}, "box2": {"--no-boot"}})
	const press = `. /usr/local/share/bash-completion/completions/nspawn-build
		COMP_WORDS=(nspawn-build stop ""); COMP_CWORD=2; _nspawn_build nspawn-build; echo "${COMPREPLY[*]}"`
	for user, command := range map[string][]string{
		"root":   {"bash", "-c", press},
		"nobody": {"runuser", "-u", "nobody", "--", "bash", "-c", press},
	} {
		if got := h.MustRun(t, command...); got != "box1 box2\n" {
			t.Errorf("%s is offered %q", user, got)
		}
	}
}

func TestWhatIsInstalledIsUninstalled(t *testing.T) {
	t.Parallel()
	testhost.Require(t, "make", "go")
	root := t.TempDir()
	run := func(target string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "make", "--directory=..", target, "DESTDIR="+filepath.Join(root, "to"), "PREFIX=/usr",
			"UNITDIR=/etc/systemd/system", "BIN="+filepath.Join(root, "bin"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
	}
	files := func() (found []string) {
		t.Helper()
		err := filepath.WalkDir(filepath.Join(root, "to"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found = append(found, strings.TrimPrefix(path, filepath.Join(root, "to")))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	run("install")
	installed := files()
	for _, wanted := range []string{
		"/usr/bin/nspawn-build", "/etc/systemd/system/" + expireTimer, "/usr/share/man/man8/nspawn-build.8",
		"/usr/share/bash-completion/completions/nspawn-build", "/usr/share/zsh/site-functions/_nspawn-build",
	} {
		if !slices.Contains(installed, wanted) {
			t.Errorf("%s is not among %v", wanted, installed)
		}
	}
	service, err := os.ReadFile(filepath.Join(root, "to/etc/systemd/system", expireService))
	if err != nil || !strings.Contains(string(service), "ExecStart=/usr/bin/nspawn-build destroy --expired\n") {
		t.Errorf("%v\n%s", err, service)
	}
	run("uninstall")
	if left := files(); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
