//go:build integration

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// engines are the tools that every failure is tried with.
var engines = []string{engineMmdebstrap, engineDebootstrap}

// expectFailure bootstraps what cannot be and checks what the user is told.
func expectFailure(t *testing.T, req sdk.Request, code sdk.Code, says string) {
	t.Helper()
	_, recorder, err := bootstrap(t, req)
	var failure *sdk.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("the error is %v, not a failure\n%s", err, strings.Join(recorder.Lines(), "\n"))
	}
	t.Logf("code %d: %s\nhint: %s", failure.Code, failure.Message, failure.Hint)
	if failure.Code != code || !strings.Contains(failure.Message, says) || failure.Hint == "" {
		t.Errorf("the failure is %d %q with the hint %q, want %d, a hint, and the message to say %q\n%s",
			failure.Code, failure.Message, failure.Hint, code, says, strings.Join(failure.Tail, "\n"))
	}
	if err := target.NoMounts(req.Target); err != nil {
		t.Error(err)
	}
}

// localRelease makes a mirror in a directory of the host that has nothing but
// the true signed release file of trixie, changed by edit.
func localRelease(t *testing.T, edit func([]byte) []byte) string {
	t.Helper()
	own := thisHost().archive("debian")
	if own.URI == "" {
		t.Skip("this host is not Debian, so there is no mirror to take a signed release from")
	}
	mirror := filepath.Join(sdktest.Scratch(), strings.ReplaceAll(t.Name(), "/", "-")+"-mirror")
	suite := filepath.Join(mirror, "dists", "trixie")
	if err := os.MkdirAll(suite, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(suite, "InRelease")
	fetch := sdk.Command{Argv: []string{"/usr/lib/apt/apt-helper", "download-file", own.URI + "/dists/trixie/InRelease", file}}
	if err := fetch.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, edit(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + mirror
}

func TestAnAlteredReleaseIsNotInstalled(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			req.Mirrors = []string{localRelease(t, func(text []byte) []byte {
				return bytes.Replace(text, []byte("\nSuite: "), []byte("\nSuite: x"), 1)
			})}
			expectFailure(t, req, sdk.CodeVerification, "not signed as it should be")
		})
	}
}

func TestAReleaseSignedByAnotherKeyIsNotInstalled(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			req.Keyring = "/usr/share/keyrings/debian-archive-removed-keys.gpg"
			req.Mirrors = []string{localRelease(t, func(text []byte) []byte { return text })}
			expectFailure(t, req, sdk.CodeVerification, "which is not in the keyring")
		})
	}
}

func TestAMirrorThatCannotBeReachedIsGivenUpSoon(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			req.Mirrors = []string{"http://127.0.0.1:1/debian"}
			begin := time.Now()
			expectFailure(t, req, sdk.CodeMirror, "")
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestAnUnknownPackageIsNamed(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			req.Packages = []string{"nosuch-package"}
			expectFailure(t, req, sdk.CodeInvalidRequest, `"nosuch-package"`)
		})
	}
}

func TestAPackageNameIsNoPattern(t *testing.T) {
	t.Parallel()
	sdktest.NeedTools(t, engineMmdebstrap)
	req := request(t, "debian", "trixie")
	req.Packages = []string{"libc.6"}
	expectFailure(t, req, sdk.CodeInvalidRequest, `"libc.6"`)
}

func TestAFullDiskIsSaidToBeFull(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			if err := unix.Mount("tmpfs", req.Target, "tmpfs", 0, "size=90m"); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := unix.Unmount(req.Target, 0); err != nil {
					t.Error(err)
				}
			}()
			expectFailure(t, req, sdk.CodeDisk, "full")
		})
	}
}

func TestAReleaseThatTheMirrorLacksIsNamed(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "nosuch")
			req.Options[optionEngine] = engine
			req.Options[optionUnknown] = "allow"
			expectFailure(t, req, sdk.CodeMirror, "nosuch")
		})
	}
}

func TestACancelledJobLeavesNothingRunningOrMounted(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			at := cancelAt{phase: phaseConfigure, cancel: cancel}
			_, err := newPlugin().Bootstrap(ctx, req, &at)
			var failure *sdk.Failure
			if !errors.As(err, &failure) || failure.Code != sdk.CodeCanceled {
				t.Errorf("the error is %v, not a cancellation", err)
			}
			if err := target.NoMounts(req.Target); err != nil {
				t.Error(err)
			}
			if left := processesIn(t, req.Target); len(left) > 0 {
				t.Errorf("these still run in the tree: %v", left)
			}
		})
	}
}

// cancelAt cancels a job when it enters a phase.
type cancelAt struct {
	phase  string
	cancel context.CancelFunc
}

func (c *cancelAt) Phase(name string) {
	if name == c.phase {
		c.cancel()
	}
}
func (c *cancelAt) Progress(sdk.Progress)  {}
func (c *cancelAt) Line(string)            {}
func (c *cancelAt) Warning(string, string) {}

// processesIn lists the processes whose root directory is a tree.
func processesIn(t *testing.T, tree string) []string {
	t.Helper()
	roots, err := filepath.Glob("/proc/[0-9]*/root")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, root := range roots {
		if to, err := os.Readlink(root); err == nil && strings.HasPrefix(to, tree) {
			found = append(found, root)
		}
	}
	return found
}
