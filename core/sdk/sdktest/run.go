package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
)

// Config is what Run runs the conformance suite over.
type Config struct {
	// Plugin is tried in this process. It, Register or Binary must be set.
	Plugin sdk.Plugin
	// Register is tried in this process: it makes a plugin that is not made of the
	// SDK's Plugin answer the calls that reach a server.
	Register func(grpc.ServiceRegistrar)
	// Binary is tried by `Program plugin check`, in the real runner, which takes
	// root. Its directory must be root's alone to write to.
	Binary string
	// Program is the nspawn-build that tries a binary; empty means the one on the
	// PATH.
	Program string

	// Request is the one to try, without directories; a zero one is for the
	// plugin's first distro with nothing but defaults.
	Request sdk.Request
	// Offline leaves out what needs a mirror, Bootstrap above all.
	Offline bool
	// Boot boots what a binary makes, too.
	Boot bool
	// Only are the rules or groups to run; empty means all.
	Only []string
	// Except are rules that are not looked at, each with the reason.
	Except map[string]string
}

// Run runs the rules of package conformance over a plugin, each as a subtest. The
// log names those that were not looked at, and why; when none was, that is a
// failure.
//
// The plugin's tools are really run. Run such tests as root and in RunContained,
// so that they meet the host as they will, and not in parallel with others: what
// those start and mount meanwhile would be the plugin's.
func Run(t *testing.T, c Config) {
	t.Helper()
	report := Check(t, c)
	for _, r := range report.Results {
		switch {
		case c.Except[r.ID] != "":
			t.Logf("%s is left out: %s", r.ID, c.Except[r.ID])
			continue
		case r.Status == conformance.Skipped:
			t.Logf("%s: %s", r.ID, r.Skipped)
			continue
		}
		t.Run(r.ID, func(t *testing.T) {
			if r.Status == conformance.Broken {
				t.Errorf("%s\nseen: %s\nwhy: %s\ndo: %s", r.Says, strings.Join(r.Seen, "\n      "), r.Why, r.Meet)
			}
		})
	}
	if report.Kept == 0 {
		t.Error("no rule was kept: all are broken, or none was looked at")
	}
}

// Check is Run without subtests: what is broken is in the report.
func Check(t *testing.T, c Config) conformance.Report {
	t.Helper()
	report, err := c.report(t)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func (c Config) report(t *testing.T) (conformance.Report, error) {
	if c.Binary != "" {
		return c.check(t.Context())
	}
	s := &memory{register: c.Register, base: Scratch()}
	switch {
	case c.Plugin != nil:
		s.register = func(server grpc.ServiceRegistrar) { sdk.Register(server, c.Plugin) }
	case c.Register == nil:
		return conformance.Report{}, errors.New("neither a plugin nor a binary was given")
	}
	if s.base == "" {
		s.base = t.TempDir()
	}
	return conformance.Run(t.Context(), conformance.Config{
		Subject: s, Request: c.Request, Offline: c.Offline, Only: c.Only,
	})
}

// check has nspawn-build try a binary.
func (c Config) check(ctx context.Context) (conformance.Report, error) {
	program := c.Program
	if program == "" {
		program = "nspawn-build"
	}
	args := []string{"plugin", "check", "--output", "json"}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, "--"+flag+"="+value)
		}
	}
	add("distro", c.Request.Distro)
	add("release", c.Request.Release)
	add("arch", c.Request.Architecture)
	add("keyring", c.Request.Keyring)
	for _, m := range c.Request.Mirrors {
		add("mirror", m)
	}
	for _, p := range c.Request.Packages {
		add("package", p)
	}
	for name, value := range c.Request.Options {
		add("option", name+"="+value)
	}
	for _, name := range c.Only {
		add("only", name)
	}
	if c.Offline {
		args = append(args, "--offline")
	}
	if c.Boot {
		args = append(args, "--boot")
	}
	path, err := filepath.Abs(c.Binary)
	if err != nil {
		return conformance.Report{}, err
	}
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, append(args, path)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	var report conformance.Report
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return report, err
	}
	if parsed := json.Unmarshal(out, &report); parsed != nil || report.Results == nil {
		return report, fmt.Errorf("%s plugin check: %w\n%s", program, errors.Join(err, parsed), said.String())
	}
	return report, nil
}

// temporary is the directory of one job.
func temporary(base string) (conformance.Grants, error) {
	dir, err := os.MkdirTemp(base, "job-")
	g := conformance.Grants{
		Target: filepath.Join(dir, "target"), CacheDirectory: filepath.Join(dir, "cache"), WorkDirectory: filepath.Join(dir, "work"),
	}
	for _, d := range []string{g.Target, g.CacheDirectory, g.WorkDirectory} {
		if err == nil {
			err = os.Mkdir(d, 0o700)
		}
	}
	return g, err
}
