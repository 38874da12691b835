package testhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// holderName is what the holder of a host without systemd is called: this
// same program, which init below turns into something else.
const holderName = "nspawn-build-test-holder"

// holderReady is the descriptor that the holder closes when all is set up.
const holderReady = 3

// held is what the holder is told.
type held struct {
	Tree    string
	Legacy  bool
	Cgroups []heldCgroup
}

type heldCgroup struct {
	hierarchy
	Dir string
}

// init makes any program that imports this package able to be the holder. Go
// has no fork: the only way to run our code as PID 1 is to start ourselves.
func init() {
	if len(os.Args) != 2 || os.Args[0] != holderName {
		return
	}
	fmt.Fprintln(os.Stderr, holdHost(os.Args[1]))
	os.Exit(1)
}

// hold starts a host without systemd.
func (h *Host) hold(ctx context.Context) error {
	// No resolver runs here: the file is the one of a host that never had one.
	if err := h.layers.write("resolv.conf", hostResolver, 0o644); err != nil {
		return err
	}
	ns, err := newNetwork()
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	if err := h.connect(ns); err != nil { //nolint:contextcheck // the outside lives as long as the host
		return err
	}
	if err := inNetwork(ns, bringUplinkUp); err != nil {
		return err
	}
	ready, err := h.startHolder(ns)
	if err != nil {
		return err
	}
	h.undo(h.kill)
	h.leader = h.outer.Process.Pid
	if err := h.await(ctx, "its PID 1", func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	}); err != nil {
		return err
	}
	if h.session, err = sessionCgroups(h.leader); err != nil {
		return err
	}
	return h.outside.pingable(ctx)
}

// startHolder starts the holder in new namespaces and that network. The
// channel is closed when the holder is done setting up.
func (h *Host) startHolder(network *os.File) (<-chan struct{}, error) {
	found, err := hierarchies()
	if err != nil {
		return nil, err
	}
	order := held{Tree: h.layers.tree(), Legacy: h.legacy}
	for _, hierarchy := range found {
		order.Cgroups = append(order.Cgroups, heldCgroup{hierarchy, filepath.Join(hierarchy.Mount, cgroupPrefix+h.name)})
	}
	text, err := json.Marshal(order)
	if err != nil {
		return nil, fmt.Errorf("instruct the holder: %w", err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("hear from the holder: %w", err)
	}
	defer func() { _ = writer.Close() }()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{holderName, string(text)}, ExtraFiles: []*os.File{writer},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
			Setsid:     true,
		},
	}
	if err := h.runOuter(cmd, network); err != nil {
		_ = reader.Close()
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer func() { _ = reader.Close() }()
		if n, _ := reader.Read(make([]byte, 1)); n == 1 {
			close(ready)
		}
	}()
	return ready, nil
}

// holdHost is the life of the holder: it sets its namespaces up and reaps. It
// returns only when that fails.
func holdHost(text string) error {
	var order held
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return fmt.Errorf("the holder's instructions: %w", err)
	}
	// A PID 1 gets no signal from below that it does not ask for.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	if err := enterCgroups(order.Cgroups); err != nil {
		return err
	}
	if err := enterTree(order); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("testhost")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	ready := os.NewFile(holderReady, "ready")
	_, err := ready.Write([]byte("."))
	if err := errors.Join(err, ready.Close()); err != nil {
		return fmt.Errorf("report readiness: %w", err)
	}
	return reap()
}

// enterCgroups makes the host's cgroup the root of what is seen from here and
// moves PID 1 into a leaf below, since inner cgroups may have to stay empty.
func enterCgroups(cgroups []heldCgroup) error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	for _, c := range cgroups {
		leaf := filepath.Join(c.Dir, "init.scope")
		if err := os.Mkdir(leaf, 0o755); err != nil {
			return fmt.Errorf("make PID 1's cgroup: %w", err)
		}
		if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("join PID 1's cgroup: %w", err)
		}
	}
	return nil
}

// reap waits for children, its own and those that others left behind, for
// as long as the namespace lives.
func reap() error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for {
		switch _, err := unix.Wait4(-1, nil, 0, nil); {
		case err == nil, errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			<-children
		default:
			return fmt.Errorf("reap: %w", err)
		}
	}
}
