//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// commands are the blocks of a page that are run.
var commands = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestTheTutorialIsTrue runs each command of the tutorial, as a user with sudo,
// on a host that has what it says.
func TestTheTutorialIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/plugin-tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	script := "set -eu\n"
	blocks := commands.FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 8 {
		t.Fatalf("the tutorial has %d blocks of commands", len(blocks))
	}
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			if !strings.HasPrefix(line, " ") { // it goes on from the one before
				script += "echo '$ " + strings.NewReplacer("'", `'\''`, "\n", "").Replace(line) + "'\n"
			}
			script += line
		}
	}
	h := install(t, testhost.Start(t, testhost.Options{Packages: []string{"make", "sudo"}}))
	h.MustRun(t, "useradd", "--create-home", "--shell", "/bin/bash", "dev")
	h.WriteFile(t, "/etc/sudoers.d/dev", "dev ALL=(ALL) NOPASSWD: ALL\n", "0440")
	h.MustRun(t, "install", "-d", "-m", "0700", "-o", "dev", "/home/dev/.ssh")
	// Without a session, which would outlive what is looked at.
	asDev := []string{"setpriv", "--reuid=dev", "--regid=dev", "--init-groups", "env", "-C", "/home/dev", "HOME=/home/dev", "USER=dev", "LOGNAME=dev", "bash", "--login", "-c"}
	h.MustRun(t, append(asDev, "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")...)
	goEnvironment(t, h)
	before := h.Calm(t)
	h.WriteFile(t, "/home/dev/tutorial", script, "0644")
	r := h.RunCommand(t, testhost.Command{Args: append(asDev, "exec bash ~/tutorial"), Timeout: 20 * time.Minute})
	want(t, exitDone, r)
	for _, words := range []string{"my-linux 0.1.0", "\nmycontainer\n", "My Linux", " 0 broken"} {
		if !strings.Contains(r.Stdout, words) {
			t.Errorf("%q is not said: %s", words, r)
		}
	}
	if strings.Contains(r.Stdout, "skipped  boot-booted") && !strings.Contains(r.Stdout, "ok       boot-booted") {
		t.Errorf("nothing was booted: %s", r)
	}
	// What the plugin's own page says holds as well.
	h.MustRun(t, "rm", "-r", "/srv/my-linux")
	readme := "set -eux\ncd ~/nspawn-build-plugin-my-linux\n"
	for _, block := range commands.FindAllStringSubmatch(h.ReadFile(t, "/home/dev/nspawn-build-plugin-my-linux/README.md"), -1) {
		readme += block[1]
	}
	h.WriteFile(t, "/home/dev/readme", readme+"sudo nspawn-build destroy --yes box\nsudo nspawn-build plugin remove my-linux\n", "0644")
	r = h.RunCommand(t, testhost.Command{Args: append(asDev, "exec bash ~/readme"), Timeout: 20 * time.Minute})
	want(t, exitDone, r)
	says(t, r, "sudo nspawn-build image --distro debian", "my-linux is removed")
	h.MustRun(t, "rm", "-r", "/home/dev/nspawn-build-plugin-my-linux", "/home/dev/tutorial", "/home/dev/readme", "/srv/my-linux")
	nothingLeft(t, h, before)
}

// goEnvironment gives a host this machine's Go, its modules as a proxy, and the
// source of nspawn-build.
func goEnvironment(t *testing.T, h *testhost.Host) {
	t.Helper()
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	download := filepath.Join(strings.TrimSpace(string(modules)), "cache/download")
	for _, c := range []struct{ from, to string }{{runtime.GOROOT(), "/usr/local/go"}, {download, "/srv/modules"}} { //nolint:staticcheck // the one that runs this test
		h.MustRun(t, "mkdir", "-p", c.to)
		if out, err := exec.Command("cp", "--archive", "--no-target-directory", c.from, h.Path(c.to)).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", c.from, err, out)
		}
	}
	source := h.Path("/usr/src/nspawn-build")
	h.MustRun(t, "mkdir", "-p", "/usr/src/nspawn-build")
	pack := exec.Command("sh", "-c", `tar -C .. --exclude=./.git --exclude=./.cache --exclude=./bin --exclude=./build -c . | tar -C "$0" -x --no-same-owner`, source)
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("copy the source: %v: %s", err, out)
	}
	h.WriteFile(t, "/etc/profile.d/go.sh", "export PATH=$PATH:/usr/local/go/bin GOPROXY=file:///srv/modules GOSUMDB=off GOTOOLCHAIN=local GOFLAGS=-mod=mod GOCACHE=/tmp/go-build GOPATH=/tmp/go\n", "0644")
}
