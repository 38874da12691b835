//go:build integration

package pluginhost

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func init() {
	// The argv is the options' values, in the order of their names.
	modes["tool"] = func(mode string) {
		sdk.Serve(stub{mode: mode, bootstrap: func(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			var argv []string
			for i := range len(req.Options) {
				argv = append(argv, req.Options[fmt.Sprintf("%02d", i)])
			}
			if err := (sdk.Command{Argv: argv, OnLine: to.Line}).Run(ctx); err != nil {
				return sdk.Facts{}, err
			}
			release, err := sdk.ReadOSRelease(req.Target)
			return sdk.Facts{OSRelease: release}, err
		}})
	}
}

// hostSources are the codename of this Debian host and the apt sources for it.
func hostSources(t *testing.T) (codename string, files []string) {
	t.Helper()
	unable := t.Skipf
	if os.Getenv("CI") == "true" {
		unable = t.Fatalf
	}
	release, err := sdk.ReadOSRelease("/")
	must(t, err)
	codename = release["VERSION_CODENAME"]
	for _, pattern := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources"} {
		found, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range found {
			content, err := os.ReadFile(path)
			must(t, err)
			if slices.Contains(strings.Fields(string(content)), codename) {
				files = append(files, path)
			}
		}
	}
	if release["ID"] != "debian" || len(files) == 0 {
		unable("this host is no Debian with apt sources of its own release")
	}
	return codename, files
}

func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
}

// TestTheDistributionsToolsWorkEnclosed runs them as root: they mount, make
// devices, change their root and unpack.
func TestTheDistributionsToolsWorkEnclosed(t *testing.T) {
	codename, files := hostSources(t)
	for name, argv := range map[string]func(target string) []string{
		"mmdebstrap": func(target string) []string {
			return append([]string{"mmdebstrap", "--mode=root", "--variant=essential", codename, target}, files...)
		},
		"debootstrap": func(target string) []string {
			return []string{"debootstrap", "--variant=minbase", codename, target, firstMirror(t, files)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			needTool(t, name)
			h := newHost(t)
			grants := jobGrants(t)
			must(t, os.Chmod(filepath.Dir(grants.Target), 0o755)) //nolint:gosec // _apt reads below it
			s := startGood(t, h, "tool", grants)
			req := grants.request()
			req.Options = map[string]string{}
			for i, argument := range argv(grants.Target) {
				req.Options[fmt.Sprintf("%02d", i)] = argument
			}
			var recorder sdktest.Recorder
			facts, err := s.Bootstrap(t.Context(), req, &recorder)
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(recorder.Lines(), "\n"))
			}
			if facts.OSRelease["ID"] != "debian" {
				t.Errorf("the tree is of %q", facts.OSRelease["ID"])
			}
			must(t, s.Close())
			out, err := exec.CommandContext(t.Context(), "chroot", grants.Target, "dpkg", "--audit").CombinedOutput() //nolint:gosec // a test's own
			if err != nil || len(out) > 0 {
				t.Errorf("dpkg is not content with the tree: %v\n%s", err, out)
			}
			for _, dir := range []string{"proc", "sys"} {
				expectEmpty(t, filepath.Join(grants.Target, dir))
			}
		})
	}
}

func TestABootstrapThatIsKilledLeavesNoMount(t *testing.T) {
	codename, files := hostSources(t)
	needTool(t, "mmdebstrap")
	h := newHost(t)
	grants := jobGrants(t)
	s := startGood(t, h, "tool", grants)
	req := grants.request()
	req.Options = map[string]string{}
	argv := append([]string{"mmdebstrap", "--mode=root", "--variant=essential", "--verbose", codename, grants.Target}, files...)
	for i, argument := range argv {
		req.Options[fmt.Sprintf("%02d", i)] = argument
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := s.Bootstrap(ctx, req, onLines(func(line string) {
		if strings.Contains(line, "installing essential packages") {
			s.process.kill()
		}
	}))
	if err == nil {
		t.Error("it was not killed")
	}
	must(t, s.Close())
	// newHost checks for mounts and processes that are left.
}

// onLines is called with every line.
type onLines func(string)

func (onLines) Phase(string)           {}
func (onLines) Progress(sdk.Progress)  {}
func (f onLines) Line(text string)     { f(text) }
func (onLines) Warning(string, string) {}

// firstMirror is the first URI in apt sources.
func firstMirror(t *testing.T, files []string) string {
	t.Helper()
	for _, path := range files {
		content, err := os.ReadFile(path) //nolint:gosec // the host's own
		must(t, err)
		for line := range strings.Lines(string(content)) {
			for _, field := range strings.Fields(line) {
				if !strings.HasPrefix(line, "#") && strings.Contains(field, "://") {
					return field
				}
			}
		}
	}
	t.Fatal("the apt sources name no mirror")
	return ""
}
