package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boot starts the host's systemd in an outer systemd-nspawn and waits until
// it is up.
func (h *Host) boot(ctx context.Context) error {
	// systemd-nspawn does not take its payload along when it is killed. As PID 1
	// of a namespace it does, and for that it needs a /proc of its own.
	const ownProc = `mount --make-rslave / && mount -t proc proc /proc && exec "$@"`
	cmd := exec.Command("sh", "-c", ownProc, "sh",
		"systemd-nspawn", "--quiet", "--keep-unit", "--register=no", "--boot",
		"--machine="+h.name, "--directory="+h.layers.tree(), "--private-network",
		"--capability=all", "--system-call-filter=@known", // its own machines need what a real host has
		"--link-journal=no", "--resolv-conf=off", "--timezone=off", "--tmpfs=/var/tmp")
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_TARGET=console") // which is not the choice of a PID 1
	if !h.legacy {
		cmd.Env = append(cmd.Env, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Setsid: true}
	if err := h.runOuter(cmd, nil); err != nil {
		return err
	}
	h.undo(h.powerOff)
	if err := h.await(ctx, "its PID 1", func() bool {
		h.leader = onlyChild(cmd.Process.Pid)
		return h.leader != 0 && h.listening()
	}); err != nil {
		return err
	}
	ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(h.leader), "ns/net"))
	if err != nil {
		return fmt.Errorf("open the host's network: %w", err)
	}
	defer func() { _ = ns.Close() }()
	if err := h.connect(ns); err != nil { //nolint:contextcheck // the outside lives as long as the host
		return err
	}
	if h.session, err = sessionCgroups(h.leader); err != nil {
		return err
	}
	if err := h.up(ctx); err != nil {
		return err
	}
	return h.outside.pingable(ctx)
}

// listening tells whether the host's systemd already answers its own socket:
// before that its mounts and namespaces are not yet what they will be.
func (h *Host) listening() bool {
	_, err := os.Lstat(h.Path("/run/systemd/private"))
	return err == nil
}

// up waits for the end of the host's boot and refuses one that went wrong.
func (h *Host) up(ctx context.Context) error {
	result, err := h.run(ctx, Command{Args: []string{"systemctl", "is-system-running", "--wait"}})
	if err != nil {
		return err
	}
	if state := strings.TrimSpace(result.Stdout); state != "running" {
		failed, _ := h.run(ctx, Command{Args: []string{"systemctl", "--failed", "--no-legend", "--plain"}})
		return fmt.Errorf("the host is %q: %s%s", state, result.Stderr, failed.Stdout)
	}
	return nil
}

// runOuter starts the process that holds the host, in the host's cgroups, with
// the host's root mounted, and in a network unless that is nil. It dies with
// this test process, and everything in it with its PID namespace.
func (h *Host) runOuter(cmd *exec.Cmd, network *os.File) error {
	console, err := os.Create(filepath.Join(h.dir, "console"))
	if err != nil {
		return fmt.Errorf("make the console's log: %w", err)
	}
	defer func() { _ = console.Close() }()
	cmd.Stdout, cmd.Stderr = console, console
	found, err := hierarchies()
	if err != nil {
		return err
	}
	cgroups := map[hierarchy]string{}
	for _, hierarchy := range found {
		cgroups[hierarchy] = filepath.Join(hierarchy.Mount, cgroupPrefix+h.name)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	h.outer = cmd
	wait, err := startFrom(cmd, cgroups, func() error {
		if network != nil {
			if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the host's network: %w", err)
			}
		}
		return h.layers.mount()
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", cmd.Args[0], err)
	}
	go func() {
		_ = wait() // how a host ended is read in its console
		close(h.ended)
	}()
	return nil
}

// powerOff asks the host to power off and ends it by force when it does not.
func (h *Host) powerOff() error {
	if err := h.outer.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("power the host off: %w", err)
	}
	select {
	case <-h.ended:
	case <-time.After(2 * time.Minute): // a unit that does not stop is killed after 90 s
		return errors.Join(fmt.Errorf("the host did not power off within 2 min: %s", h.consoleTail()), h.kill())
	}
	return nil
}

// kill ends the host at once.
func (h *Host) kill() error {
	_ = h.outer.Process.Kill() // already gone is as good
	select {
	case <-h.ended:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("the host does not end")
	}
}

// await polls until the condition holds, the host has ended or time is up.
func (h *Host) await(ctx context.Context, what string, holds func() bool) error {
	for !holds() {
		select {
		case <-h.ended:
			return fmt.Errorf("wait for %s: the host ended: %s", what, h.consoleTail())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", what, ctx.Err(), h.consoleTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// onlyChild is the PID of the only child of a process, and 0 without one.
func onlyChild(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return child
}

// startFrom starts cmd in the given cgroups, from a thread that prepare may
// change beforehand, and returns what waits for its end. The thread lives
// until then, so that a parent-death signal means the death of this process.
func startFrom(cmd *exec.Cmd, cgroups map[hierarchy]string, prepare func() error) (wait func() error, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: see onOwnThread
		release, err := joinCgroups(cmd.SysProcAttr, cgroups)
		if err == nil && prepare != nil {
			err = prepare()
		}
		if err == nil {
			err = cmd.Start()
		}
		release()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error { return <-ended }, nil
}
