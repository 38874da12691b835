// Package customize does to a tree what its user asked for beyond the
// distribution's packages: it copies files of this host into it and runs
// programs in it.
//
// What is copied is written through core/rootfs alone, and so never out of the
// tree. What runs sees the tree and nothing of the host but the program itself:
// it has a user namespace, in which no capability is worth anything outside, no
// network unless that was asked for, nothing to read, a clean environment, and
// a control group by which all of it is ended. The package keeps no secret and
// is given none.
package customize

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
	"github.com/nspawn-build/nspawn-build/core/driver/leftover"
	"github.com/nspawn-build/nspawn-build/core/quarters"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// Room is a tree in which programs run, one at a time.
type Room struct {
	Name    string // of the machine or image: its host name meanwhile
	Tree    string // the root directory
	Log     string // the file that output is added to
	Runtime string // the directory in /run that is the program's own
	Network bool
	// Epoch is SOURCE_DATE_EPOCH for what runs; 0 leaves it out.
	Epoch int64
	// Limit bounds each program; 0 means an hour.
	Limit time.Duration
	// Line is told of each line of output.
	Line func(string)
}

const (
	usualLimit = time.Hour
	ending     = 15 * time.Second // for what was killed to be gone
	inTheRoom  = "/run/nspawn-build-script"
)

// dropped are the capabilities that a program has no use for while nothing is
// booted. Those that are left count in the room's own user namespace only.
const dropped = "CAP_AUDIT_CONTROL,CAP_IPC_OWNER,CAP_LEASE,CAP_LINUX_IMMUTABLE,CAP_MKNOD,CAP_NET_ADMIN,CAP_NET_BROADCAST," +
	"CAP_NET_RAW,CAP_SYS_ADMIN,CAP_SYS_BOOT,CAP_SYS_PTRACE,CAP_SYS_RESOURCE,CAP_SYS_TTY_CONFIG"

// Command runs a command by the tree's own shell.
func (r *Room) Command(ctx context.Context, command string) error {
	return r.logged(ctx, command, "", []string{"/bin/sh", "-c", command})
}

// Script runs a program of the host, as it was when it was read.
func (r *Room) Script(ctx context.Context, path string) (err error) {
	data, err := readScript(path)
	if err != nil {
		return err
	}
	dir := r.scratch()
	if err := errors.Join(quarters.Remove(ctx, dir), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, quarters.Remove(context.WithoutCancel(ctx), dir))
		_ = os.Remove(filepath.Dir(dir)) // what is not empty stays
	}()
	copied := filepath.Join(dir, "script")
	if err := errors.Join(os.WriteFile(copied, data, 0o555), os.Chmod(copied, 0o555)); err != nil {
		return err
	}
	return r.logged(ctx, path, copied, interpreter(data))
}

// interpreter is how a program is run, as the kernel does it. What names no
// interpreter is the shell's. It is named here, for where the program is bound
// from nothing may be executed.
func interpreter(data []byte) []string {
	first, _, _ := strings.Cut(string(data[:min(len(data), 256)]), "\n")
	line, named := strings.CutPrefix(first, "#!")
	if strings.HasPrefix(first, "\x7fELF") {
		return []string{inTheRoom}
	}
	program, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !named || program == "" {
		return []string{"/bin/sh", inTheRoom}
	}
	if argument = strings.TrimSpace(argument); argument != "" {
		return []string{program, argument, inTheRoom}
	}
	return []string{program, inTheRoom}
}

// arguments are those of systemd-nspawn.
func (r *Room) arguments(machine, script string, argv []string) []string {
	args := []string{
		"--quiet", "--register=no", "--keep-unit", "--settings=no", "--link-journal=no", "--timezone=off",
		"--as-pid2", "--console=pipe", "--private-users=identity", "--drop-capability=" + dropped,
		"--machine=" + machine, "--hostname=" + r.Name, "--directory=" + r.Tree,
		"--setenv=LANG=C.UTF-8",
	}
	if r.Network {
		args = append(args, "--resolv-conf=bind-host")
	} else {
		args = append(args, "--private-network", "--resolv-conf=off")
	}
	if r.Epoch > 0 {
		args = append(args, "--setenv=SOURCE_DATE_EPOCH="+strconv.FormatInt(r.Epoch, 10))
	}
	if script != "" {
		args = append(args, "--bind-ro="+strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(script)+":"+inTheRoom)
	}
	return append(append(args, "--"), argv...)
}

// machine is a name that nothing else on this host has, and that is the same
// for the same tree: what a run that was killed left is found by it.
func machine(tree string) string {
	sum := sha256.Sum256([]byte(tree))
	return "nspawn-build-room-" + hex.EncodeToString(sum[:6])
}

// scratch is where the program is that runs; the next run in the same tree
// sweeps it.
func (r *Room) scratch() string { return filepath.Join(r.Runtime, machine(r.Tree)) }

// run runs one program until it ends, and everything that it started.
func (r *Room) run(ctx context.Context, script string, argv []string, output *os.File) error {
	program, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return fmt.Errorf("systemd-nspawn is not installed: %w", err)
	}
	host, err := cgroup.Find()
	if err != nil {
		return err
	}
	name := machine(r.Tree)
	group := host.Group(name)
	if err := clear(ctx, group, name, r.Tree); err != nil { // of a run that was killed
		return err
	}
	if err := errors.Join(group.Create(), inherit.Nothing()); err != nil {
		return err
	}
	limit := r.Limit
	if limit == 0 {
		limit = usualLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end within %s", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, r.arguments(name, script, argv)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "TERM=dumb"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = output, output
	// When we are killed it is to end what runs, which would outlive it if it
	// were killed itself: SIGTERM is how it is told.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	undo, err := r.resolver()
	if err != nil {
		return err
	}
	err = started(group, cmd)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return errors.Join(err, clear(context.WithoutCancel(ctx), group, name, r.Tree), undo())
}

// started starts a command and waits for it, on a thread that lives as long:
// the command is ended with the thread that started it.
func started(group cgroup.Group, cmd *exec.Cmd) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		err := group.Start(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		result <- err
	}()
	return <-result
}

// clear ends and removes whatever a run leaves on the host.
func clear(ctx context.Context, group cgroup.Group, name, tree string) error {
	ctx, cancel := context.WithTimeout(ctx, ending)
	defer cancel()
	return errors.Join(group.Kill(ctx), group.Remove(ctx), leftover.Remove(name), leftover.RemoveLock(tree))
}

// resolver returns what takes back that systemd-nspawn makes an empty
// /etc/resolv.conf to bind the host's over.
func (r *Room) resolver() (undo func() error, err error) {
	const path = "etc/resolv.conf"
	nothing := func() error { return nil }
	if !r.Network {
		return nothing, nil
	}
	tree, err := rootfs.Open(r.Tree)
	if err != nil {
		return nothing, err
	}
	_, err = tree.Lstat(path)
	if err = errors.Join(err, tree.Close()); !errors.Is(err, fs.ErrNotExist) {
		return nothing, err
	}
	return func() error {
		tree, err := rootfs.Open(r.Tree)
		if err != nil {
			return err
		}
		if info, statErr := tree.Lstat(path); statErr == nil && info.Mode().IsRegular() && info.Size() == 0 {
			err = tree.Remove(path)
		}
		return errors.Join(err, tree.Close())
	}, nil
}

// Sweep ends what still runs in a tree, and removes what a run there that was
// killed left on the host.
func Sweep(ctx context.Context, tree, runtimeDir string) error {
	host, err := cgroup.Find()
	if err != nil {
		return err
	}
	name := machine(tree)
	err = errors.Join(clear(ctx, host.Group(name), name, tree), quarters.Remove(ctx, filepath.Join(runtimeDir, name)))
	_ = os.Remove(runtimeDir) // what is not empty stays
	return err
}
