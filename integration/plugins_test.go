//go:build integration

package integration

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

const (
	pluginsDirectory = "/usr/local/lib/nspawn-build/plugins"
	pluginRef        = "oci://" + registryName + "/plugins/fixture:1"
	// download is where somebody has the fixture who has not installed it.
	download = "/root/nspawn-build-plugin-fixture"
)

// plugin runs a command about plugins.
func plugin(t *testing.T, exit int, h *testhost.Host, args ...string) testhost.Result {
	t.Helper()
	return want(t, exit, h.Run(t, append([]string{"nspawn-build", "plugin"}, args...)...))
}

// says fails unless a command printed all these words.
func says(t *testing.T, r testhost.Result, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.Stdout+r.Stderr, w) {
			t.Errorf("it does not say %q: %s", w, r)
		}
	}
}

// hostOfPlugins has a registry outside, and the fixture in a download only.
func hostOfPlugins(t *testing.T) *testhost.Host {
	t.Helper()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{Sites: map[string]http.Handler{
		registryName: registry.New(registry.Logger(log.New(io.Discard, "", 0))),
	}}))
	h.MustRun(t, "cp", pluginsDirectory+"/nspawn-build-plugin-fixture", download)
	h.MustRun(t, "nspawn-build", "--distro", "fixture", "earlier", "--no-boot")
	r := plugin(t, exitDone, h, "remove", "fixture")
	says(t, r, "no plugin makes fixture any more", "these machines stay and work, and cannot be made again: earlier")
	return h
}

func TestAPluginIsInstalledUsedUpdatedAndRemoved(t *testing.T) {
	t.Parallel()
	h := hostOfPlugins(t)
	before := h.MustRun(t, "sh", "-c", "cd "+pluginsDirectory+" && sha256sum nspawn-build-plugin-*")
	want(t, exitUsage, h.Run(t, fixture("box", "--no-boot")...))
	plugin(t, exitUsage, h, "describe", "fixture")

	sum := h.MustRun(t, "sha256sum", download)[:64]
	plugin(t, exitUsage, h, "install", "--sha256", strings.Repeat("0", 64), download)
	says(t, plugin(t, exitDone, h, "install", "--sha256", sum, download), "fixture 1.0.0 is installed", "sha256    "+sum, "source    "+download)
	create(t, h, fixture("box", "--no-boot")...)
	says(t, plugin(t, exitDone, h, "describe", "fixture"), "fixture 1.0.0", "tarball", "features", "trixie", download)

	// What is not as it was installed is neither used nor vouched for.
	plugin(t, exitDone, h, "verify")
	h.MustRun(t, "sh", "-c", "echo more >>"+pluginsDirectory+"/nspawn-build-plugin-fixture")
	says(t, plugin(t, exitHost, h, "verify"), "it is not the file that was installed", "1 plugin not as installed, of 4 plugins")
	says(t, want(t, exitHost, h.Run(t, fixture("other", "--no-boot")...)),
		"it is not the file that was installed", "hint: find out who changed it")
	plugin(t, exitExists, h, "remove", "fixture")
	plugin(t, exitDone, h, "install", "--replace", download)
	plugin(t, exitDone, h, "verify", "fixture")

	// A maker signs and pushes, and users update.
	h.MustRun(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "maker", "-f", "/root/maker")
	release := func(signed bool) {
		t.Helper()
		h.MustRun(t, "rm", "-f", download+".sig")
		if signed {
			h.MustRun(t, "ssh-keygen", "-q", "-Y", "sign", "-n", "nspawn-build-plugin", "-f", "/root/maker", download)
		}
		says(t, plugin(t, exitDone, h, "push", "--registry-insecure", download, pluginRef), "oci://"+registryName+"/plugins/fixture@sha256:")
	}
	release(true)
	plugin(t, exitHost, h, "install", "--replace", "--key", "/root/maker.pub", pluginRef) // there is no TLS
	says(t, plugin(t, exitDone, h, "install", "--registry-insecure", "--replace", "--key", "/root/maker.pub", pluginRef), "digest    sha256:", "signed by SHA256:")
	says(t, plugin(t, exitDone, h, "update", "--registry-insecure"), "fixture: nothing to do", "debootstrap: nothing to do")
	checkMachine(t, h, create(t, h, fixture("box")...))

	h.MustRun(t, "sh", "-c", "printf x >>"+download)
	release(false)
	says(t, plugin(t, exitUsage, h, "update", "--registry-insecure", "--yes", "fixture"), "is not signed, and it must be by SHA256:")
	release(true)
	changed := h.MustRun(t, "sha256sum", download)[:64]
	says(t, plugin(t, exitDone, h, "update", "--registry-insecure", "--check"), "sha256 "+sum+" → "+changed, "digest sha256:")
	says(t, plugin(t, exitUsage, h, "update", "--registry-insecure", "fixture"), "nobody can be asked")
	if list := pluginList(t, h)["fixture"]; list.SHA256 != sum || list.Source != pluginRef || !strings.HasPrefix(list.Digest, "sha256:") || list.Signer == "" {
		t.Errorf("the list says %+v", list)
	}
	ask := func(exit int, answer string) testhost.Result {
		t.Helper()
		return want(t, exit, h.RunInput(t, answer, "script", "--quiet", "--return", "--command", "nspawn-build plugin update --registry-insecure", "/dev/null"))
	}
	says(t, ask(exitInterrupted, "n\n"), "sha256 "+sum+" → "+changed, "Replace the fixture plugin, which runs as root? [y/N]")
	if list := pluginList(t, h)["fixture"]; list.SHA256 != sum {
		t.Errorf("it is updated all the same: %+v", list)
	}
	says(t, ask(exitDone, "y\n"), "fixture 1.0.0 is installed")
	if list := pluginList(t, h)["fixture"]; list.SHA256 != changed {
		t.Errorf("it is not updated: %+v", list)
	}
	create(t, h, fixture("third", "--no-boot")...)

	says(t, plugin(t, exitDone, h, "update", "--registry-insecure", "--yes"), "fixture: nothing to do: it is what its source has")
	says(t, plugin(t, exitDone, h, "remove", "fixture"), "cannot be made again: box, earlier, third")
	want(t, exitDone, h.Run(t, "nspawn-build", "status", "box"))
	for _, name := range []string{"box", "earlier", "third"} {
		destroy(t, h, name)
	}
	if after := h.MustRun(t, "sh", "-c", "cd "+pluginsDirectory+" && sha256sum nspawn-build-plugin-*"); after != before {
		t.Errorf("the other plugins were\n%sand are\n%s", before, after)
	}
	left := h.MustRun(t, "sh", "-c", "ls -A "+pluginsDirectory+" | grep -v ^nspawn-build-plugin-")
	if strings.TrimSpace(left) != "plugins.lock" {
		t.Errorf("this is left:\n%s", left)
	}
}

// pluginRow is one plugin as plugin list has it.
type pluginRow struct{ Name, SHA256, Source, Digest, Signer string }

func pluginList(t *testing.T, h *testhost.Host) map[string]pluginRow {
	t.Helper()
	var rows []pluginRow
	r := plugin(t, exitDone, h, "list", "--output", "json")
	if err := json.Unmarshal([]byte(r.Stdout), &rows); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	all := map[string]pluginRow{}
	for _, row := range rows {
		all[row.Name] = row
	}
	return all
}

func TestAPluginInDevelopmentIsRunLoudlyAndForgotten(t *testing.T) {
	t.Parallel()
	h := hostOfPlugins(t)
	h.MustRun(t, "sh", "-c", "mkdir /root/clone && mv "+download+" /root/clone/a.out")
	lock := h.ReadFile(t, pluginsDirectory+"/plugins.lock")
	dev := []string{"--dev-plugin", "fixture=/root/clone/a.out"}
	r := want(t, exitDone, h.Run(t, append(fixture("box", "--no-boot"), dev...)...))
	says(t, r, "dev-plugin: the fixture plugin is /root/clone/a.out: NOTHING VOUCHES FOR IT")
	says(t, plugin(t, exitDone, h, "describe", "fixture", dev[0], dev[1]), "NOTHING VOUCHES FOR IT", "nothing vouches for it: --dev-plugin")
	// What it made is kept for nobody, and no later run knows of it.
	if all := kept(t, h); len(all) != 1 { // that of the plugin which was installed
		t.Errorf("these trees are kept: %+v", all)
	}
	if got := h.ReadFile(t, pluginsDirectory+"/plugins.lock"); got != lock {
		t.Errorf("the lock has become\n%s", got)
	}
	if found := h.Run(t, "grep", "-rl", "clone/a.out", "/var/lib/nspawn-build", "/etc/nspawn-build", pluginsDirectory); found.Exit != 1 {
		t.Errorf("it is remembered: %s", found)
	}
	want(t, exitUsage, h.Run(t, fixture("other", "--no-boot")...))
	// Who gets an image can see that.
	want(t, exitDone, h.Run(t, "nspawn-build", "image", "img", "--distro", "fixture", "--format", "directory", "--out", "/root/images/", dev[0], dev[1]))
	if manifest := h.ReadFile(t, "/root/images/img.manifest.json"); !strings.Contains(manifest, `"dev": true`) {
		t.Errorf("the image does not say how it was made: %s", manifest)
	}
	// Nobody else may be able to change it.
	h.MustRun(t, "chmod", "0777", "/root/clone")
	says(t, want(t, exitHost, h.Run(t, append(fixture("other", "--no-boot"), dev...)...)),
		"can be written by others", "hint: plugins run as root: keep them where only root can write")
	destroy(t, h, "box")
}

// TestAPluginSurvivesWhoInstallsIt kills the program at more and more of an
// installation: what is there afterwards is vouched for and works.
func TestAPluginSurvivesWhoInstallsIt(t *testing.T) {
	t.Parallel()
	h := hostOfPlugins(t)
	h.MustRun(t, "sh", "-c", "mkdir /root/other && cp "+download+" /root/other/ && printf x >>/root/other/nspawn-build-plugin-fixture")
	plugin(t, exitDone, h, "install", download)
	r := h.Run(t, "sh", "-c", `for i in 05 10 15 20 25 30 40 50 65 80; do
		case $from in /root) from=/root/other;; *) from=/root;; esac
		nspawn-build plugin install --replace $from/nspawn-build-plugin-fixture >/dev/null 2>&1 & pid=$!
		sleep 0.$i
		kill -9 $pid 2>/dev/null && echo "killed after 0.$i"
		wait $pid
		nspawn-build plugin verify >/dev/null || exit 1
		sha256sum </usr/local/lib/nspawn-build/plugins/nspawn-build-plugin-fixture
	done`)
	want(t, exitDone, r)
	if !strings.Contains(r.Stdout, "killed after") {
		t.Errorf("it was never killed: %s", r)
	}
	plugin(t, exitDone, h, "install", "--replace", download)
	says(t, plugin(t, exitDone, h, "describe", "fixture"), "fixture 1.0.0")
	left := h.MustRun(t, "sh", "-c", "ls -A "+pluginsDirectory+" | grep -v ^nspawn-build-plugin-; find /run/nspawn-build -name 'plugin-*' 2>/dev/null || true")
	if strings.TrimSpace(left) != "plugins.lock" {
		t.Errorf("this is left:\n%s", left)
	}
}
