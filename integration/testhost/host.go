package testhost

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options choose a host.
type Options struct {
	Suite    string   // of Debian, such as "bookworm"; "trixie" by default
	Packages []string // beside the usual ones; each set is a cached tree of its own
	// NoMachineID leaves /etc/machine-id of a host without systemd empty, as
	// container images have it: systemd-nspawn makes no veth pair there.
	NoMachineID bool
	// LegacyCgroups shows the host the cgroups of this machine as they are,
	// where they are legacy ones. Else it sees cgroup v2 alone, as nearly every
	// host has it; its controllers are missing where this machine's are legacy.
	LegacyCgroups bool
	// Tree is the root of the host in place of a Debian's: see CachedHost.
	Tree string
	// Sites are served outside on port 80, each under its name.
	Sites map[string]http.Handler
	// Upstreams are real servers that the host can reach under their names,
	// each as host:port.
	Upstreams []string
}

// Host is a running host. Its methods take the test that uses them, which may
// be a subtest of the one that started it.
type Host struct {
	Suite string

	options Options
	direct  bool   // PID 1 is not systemd
	legacy  bool   // it sees legacy cgroups where this machine has them
	name    string // also that of its directory and cgroups
	dir     string
	layers  layers
	leader  int // PID 1 as this machine numbers it
	outer   *exec.Cmd
	ended   chan struct{} // closed when outer was waited for
	session map[hierarchy]string
	outside *outside
	cleanup []func() error // in reverse order
}

// bootDeadline bounds a start once the tree is there, buildDeadline a build.
const (
	bootDeadline  = 60 * time.Second
	buildDeadline = 10 * time.Minute
)

// Start boots a host whose PID 1 is systemd, and returns when it is up, with
// its uplink. It is powered off when the test ends.
func Start(t testing.TB, o Options) *Host {
	t.Helper()
	return start(t, o, false)
}

// StartDirect starts a host without systemd as PID 1: the same tree and
// network, and a PID 1 that only reaps, as in a CI container.
func StartDirect(t testing.TB, o Options) *Host {
	t.Helper()
	return start(t, o, true)
}

func start(t testing.TB, o Options, direct bool) *Host {
	t.Helper()
	Require(t, "mmdebstrap", "systemd-nspawn", "systemctl", "cp")
	if o.Suite == "" {
		o.Suite = "trixie"
	}
	h := &Host{Suite: o.Suite, options: o, direct: direct, legacy: o.LegacyCgroups, ended: make(chan struct{})}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last of the host's log:\n%s", h.lastWords())
		}
		if err := h.shutdown(); err != nil {
			t.Errorf("end the test host: %v", err)
		}
	})
	if err := h.prepare(t, o); err != nil {
		t.Fatalf("prepare the test host: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootDeadline)
	defer cancel()
	bring := h.boot
	if direct {
		bring = h.hold
	}
	if err := bring(ctx); err != nil {
		t.Fatalf("start the test host: %v", err)
	}
	return h
}

// prepare makes everything of the host that is not a process.
func (h *Host) prepare(t testing.TB, o Options) error {
	t.Helper()
	d, err := thisDebian()
	if err != nil {
		Unmet(t, "where to get packages from is unknown: "+err.Error())
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildDeadline)
	defer cancel()
	base := o.Tree
	if base == "" {
		if base, err = d.hostTree(ctx, o.Suite, o.Packages); err != nil {
			return err
		}
	}
	dir, release, err := ownDirectory()
	if err != nil {
		return err
	}
	h.dir, h.name = dir, filepath.Base(dir)
	h.undo(func() error {
		defer release()
		if os.Getenv("NSPAWN_BUILD_TEST_KEEP") != "" && t.Failed() {
			t.Logf("kept, until the next test host starts: %s", dir)
			return nil
		}
		return removeTree(dir)
	})
	h.layers = layers{base: base, dir: dir}
	if err := h.layers.prepare(ctx); err != nil {
		return err
	}
	if !o.NoMachineID {
		if err := h.identify(); err != nil {
			return err
		}
	}
	if _, err := makeCgroups(h.name); err != nil {
		return err
	}
	h.undo(func() error { return removeCgroups(h.name) })
	return nil
}

// connect joins the host's network namespace to an outside of its own.
func (h *Host) connect(host *os.File) error {
	d, err := thisDebian()
	if err != nil {
		return err
	}
	mirrors, err := upstreams(d.sources)
	if err != nil {
		return err
	}
	h.outside, err = newOutside(host, append(mirrors, h.options.Upstreams...), h.options.Sites)
	if err != nil {
		return err
	}
	h.undo(func() error { h.outside.close(); return nil })
	return nil
}

// identify gives the host a machine-id, as it would have since its first boot.
func (h *Host) identify() error {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return h.layers.write("machine-id", hex.EncodeToString(id)+"\n", 0o444)
}

// undo remembers what ends something that was begun.
func (h *Host) undo(f func() error) { h.cleanup = append(h.cleanup, f) }

func (h *Host) shutdown() error {
	var errs []error
	for i := len(h.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, h.cleanup[i]())
	}
	return errors.Join(errs...)
}

// Systemd tells whether PID 1 of the host is systemd.
func (h *Host) Systemd() bool { return !h.direct }

// Path is where this machine finds a file of the host, which its mounts hide
// and show as they do for the host's own processes. Mind absolute symbolic
// links: followed from here they lead to this machine's files.
func (h *Host) Path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(h.leader), "root", name)
}

// lastWords is what there is to read when a test failed.
func (h *Host) lastWords() string {
	if h.direct || h.session == nil {
		return h.consoleTail()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := h.run(ctx, Command{Args: []string{"journalctl", "--no-pager", "--output=short-precise", "--lines=80"}})
	if err != nil {
		return err.Error()
	}
	return r.Stdout
}

// consoleTail is the end of what the outer systemd-nspawn printed.
func (h *Host) consoleTail() string {
	text, err := os.ReadFile(filepath.Join(h.dir, "console"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

func isErrno(err error, errno unix.Errno) bool { return errors.Is(err, errno) }
