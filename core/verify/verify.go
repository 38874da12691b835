// Package verify boots an image once, as the machine that somebody would make
// of it, and checks that it can be worked with.
//
// The image is never written to: the machine runs on a layer in memory above
// it, which is gone with it. Everything of a run is in namespaces of its own, the
// network among them, which has no way out: any number of runs go on at the same
// time with the same addresses, and nothing of them reaches the host. The first
// process of the namespaces is this program; whatever ends it, or the process that
// started it, ends and unmounts all of the run.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// The names of the checks, in their order. A command's is Command and the command.
const (
	Booted    = "booted"
	Address   = "address"
	DNS       = "dns"
	SSH       = "sshd"
	Command   = "check: "
	CleanStop = "clean stop"
)

// Target is what is to be verified, and how.
type Target struct {
	Tree  string // a directory; or else
	Image string // a file with a file system that Linux mounts, or with a disk's partitions
	// Name is what the machine is called, which it sees as its host name.
	Name string
	// Checks are commands for the machine's /bin/sh, each of which must exit 0.
	Checks []string
	// Timeout bounds all of it, the default is 10 minutes; and CheckTimeout each
	// check, the default is 90 seconds.
	Timeout, CheckTimeout time.Duration
	// RuntimeDir is where a run keeps its lock; the default is /run/nspawn-build.
	RuntimeDir string
}

// Report is what became of the checks.
type Report struct {
	OK          bool    `json:"ok"`
	Checks      []Check `json:"checks"`
	BootSeconds float64 `json:"bootSeconds"` // until systemd had started all; 0 when it did not
}

// Check is one of them.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Skipped says that it was not tried, as it needs what another check found
	// missing: it is not OK, and no fault of its own.
	Skipped bool     `json:"skipped,omitempty"`
	Detail  string   `json:"detail"`
	Seconds float64  `json:"seconds"`
	Output  []string `json:"output,omitempty"`  // of a command: the end of what it printed
	Journal []string `json:"journal,omitempty"` // of one that failed: the end of the journal, or of the console
}

// Failed are the checks that were tried and failed.
func (r Report) Failed() []Check {
	var failed []Check
	for _, c := range r.Checks {
		if !c.OK && !c.Skipped {
			failed = append(failed, c)
		}
	}
	return failed
}

// Faults says why a report is not OK: what has failed or, where the time for all was
// over before anything could, what it was over before.
func (r Report) Faults() string {
	var failed, skipped []string
	for _, c := range r.Checks {
		switch {
		case c.OK:
		case c.Skipped:
			skipped = append(skipped, c.Name+": "+c.Detail)
		default:
			failed = append(failed, c.Name+": "+c.Detail)
		}
	}
	if len(failed) == 0 {
		failed = skipped
	}
	return strings.Join(failed, "; ")
}

// Error is why nothing could be said about an image: this host cannot, or what
// was named is no image.
type Error struct {
	Problem string
	Hint    string // what to do; may be empty
	Input   bool   // what was asked for is at fault, not this host
}

func (e *Error) Error() string { return e.Problem }

const (
	defaultTimeout      = 10 * time.Minute
	defaultCheckTimeout = 90 * time.Second
	defaultRuntimeDir   = "/run/nspawn-build"
	defaultName         = "image"
)

// Run verifies an image, and tells of each check as soon as it is decided, from
// the goroutine that called it. The error says that it could not be tried; an
// image that was tried and failed is a Report that is not OK. When ctx ends,
// everything is gone when Run returns.
func Run(ctx context.Context, t Target, tell func(Check)) (Report, error) {
	if err := t.complete(); err != nil {
		return Report{}, err
	}
	h, err := host.Detect()
	if err != nil {
		return Report{}, err
	}
	if err := able(h); err != nil {
		return Report{}, err
	}
	if tell == nil {
		tell = func(Check) {}
	}
	return run(ctx, t, h, tell)
}

// complete fills in defaults and refuses what cannot be an image.
func (t *Target) complete() error {
	if t.Name == "" {
		t.Name = defaultName
	}
	if _, err := spec.ParseName(t.Name); err != nil {
		return spec.Invalid{err}
	}
	if t.Timeout <= 0 {
		t.Timeout = defaultTimeout
	}
	if t.CheckTimeout <= 0 {
		t.CheckTimeout = defaultCheckTimeout
	}
	if t.RuntimeDir == "" {
		t.RuntimeDir = defaultRuntimeDir
	}
	for _, c := range t.Checks {
		if c == "" {
			return &Error{Problem: `check: "" is no command`, Hint: "leave the check out", Input: true}
		}
	}
	if (t.Tree == "") == (t.Image == "") {
		return &Error{Problem: "no image was named", Hint: "name a directory, or a file in one of the formats squashfs, erofs and raw", Input: true}
	}
	var err error
	if t.Tree != "" {
		t.Tree, err = existing(t.Tree, fs.ModeDir)
	} else {
		t.Image, err = existing(t.Image, 0)
	}
	return err
}

// existing returns the absolute path of what must be there and of that kind.
func existing(path string, kind fs.FileMode) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &Error{Problem: fmt.Sprintf("image: %q is not there", path), Hint: "name a directory or an image file", Input: true}
	case err != nil:
		return "", fmt.Errorf("image: %w", err)
	case info.Mode().Type() != kind && kind != 0:
		return "", &Error{Problem: fmt.Sprintf("image: %q is no directory", path), Hint: "name the tree's root directory", Input: true}
	case info.Mode().Type() != kind:
		return "", &Error{Problem: fmt.Sprintf("image: %q is no regular file", path), Hint: "name an image file", Input: true}
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	return path, nil
}

// able says what this host lacks.
func able(h host.Host) error {
	if os.Geteuid() != 0 {
		return &Error{Problem: "this needs root", Hint: "run it with sudo"}
	}
	if h.Nspawn == "" {
		return &Error{Problem: "systemd-nspawn is not installed", Hint: "install systemd-container"}
	}
	if _, err := exec.LookPath("nsenter"); err != nil {
		return &Error{Problem: "nsenter is not installed", Hint: "install util-linux"}
	}
	return nil
}
