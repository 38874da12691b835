package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// staged is what `make install` put where, once in this process. The directory
// is swept with those of ended hosts.
var staged = sync.OnceValues(func() (string, error) {
	root, err := findModule()
	if err != nil {
		return "", err
	}
	dir, release, err := ownDirectory()
	if err != nil {
		return "", err
	}
	keepStaged = append(keepStaged, release)
	// BIN, so that a build by hand in the same clone and this one do not meet.
	out, err := exec.Command("make", "--directory="+root, "install", "BIN="+filepath.Join(dir, "bin"),
		"DESTDIR="+filepath.Join(dir, "product"), "PREFIX=/usr/local").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make install: %w\n%s", err, out)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, fixtureBinary), "./integration/fixture")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the fixture plugin: %w\n%s", err, out)
	}
	return dir, nil
})

// keepStaged keeps the lock on that directory from being collected.
var keepStaged []func()

// findModule is the directory of go.mod above the working directory, which
// for a test is that of its package.
func findModule() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("find the module: no go.mod above the working directory")
}

// InstallProduct installs nspawn-build on the host as a user would, by `make
// install`: what is tested is what is installed.
func (h *Host) InstallProduct(t testing.TB) {
	t.Helper()
	Require(t, "make", "go")
	dir, err := staged()
	if err != nil {
		t.Fatalf("install nspawn-build: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), "cp", "--archive", filepath.Join(dir, "product")+"/.", h.Path("/")).CombinedOutput()
	if err != nil {
		t.Fatalf("install nspawn-build on the host: %v: %s", err, out)
	}
}

// The fixture on a host.
const (
	fixtureBinary   = "nspawn-build-plugin-fixture"
	pluginDirectory = "/usr/local/lib/nspawn-build/plugins"
	fixtureTarball  = "/var/lib/nspawn-build-fixture/trixie.tar.zst"
)

// InstallFixture adds the distribution "fixture" to an installed nspawn-build:
// see integration/fixture. It is for scenarios in which the bootstrap itself is
// not under test.
func (h *Host) InstallFixture(t testing.TB) {
	t.Helper()
	dir, err := staged()
	if err != nil {
		t.Fatalf("build the fixture plugin: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildDeadline)
	defer cancel()
	tarball, err := MachineTarball(ctx, "trixie")
	if err != nil {
		t.Fatalf("make the fixture's tarball: %v", err)
	}
	h.CopyIn(t, tarball, fixtureTarball)
	h.CopyIn(t, filepath.Join(dir, fixtureBinary), filepath.Join(pluginDirectory, fixtureBinary))
	h.MustRun(t, "nspawn-build", "plugin-lock", pluginDirectory)
}
