// Package leader reads what the kernel says of a machine's leader, the process
// that is PID 1 in the machine.
//
// It pins the process that it opens: when the leader dies and its number goes
// to another process, every question about it fails instead of being answered
// for the other. It only reads, but for asking a machine to reboot, and never
// ends or enters anything.
package leader

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone is returned for a process that ended.
var ErrGone = errors.New("the process is gone")

// ErrNotLeader is returned for a process that is not PID 1 of a pid namespace
// below ours.
var ErrNotLeader = errors.New("not the leader of a machine")

// Process is one process. It holds two file descriptors until Close.
type Process struct {
	PID   int
	dir   *os.File // /proc/PID: reading below it fails once the process is gone
	pidfd int
}

// Open pins the process with the given number, which must be the leader of a
// machine.
func Open(pid int) (*Process, error) {
	p, err := pin(pid)
	if err != nil {
		return nil, err
	}
	inner, err := p.namespacePIDs()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if len(inner) < 2 || inner[len(inner)-1] != 1 {
		return nil, errors.Join(fmt.Errorf("process %d: %w", pid, ErrNotLeader), p.Close())
	}
	return p, nil
}

func pin(pid int) (*Process, error) {
	if pid <= 1 {
		return nil, fmt.Errorf("process %d: %w", pid, ErrNotLeader)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, gone(pid, err)
	}
	dir, err := os.Open("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return nil, errors.Join(gone(pid, err), unix.Close(pidfd))
	}
	p := &Process{PID: pid, dir: dir, pidfd: pidfd}
	// Both descriptors are of one process if it lived all the time between.
	if !p.Alive() {
		return nil, errors.Join(fmt.Errorf("process %d: %w", pid, ErrGone), p.Close())
	}
	return p, nil
}

// Close releases the process. It does not end it.
func (p *Process) Close() error {
	return errors.Join(p.dir.Close(), unix.Close(p.pidfd))
}

// Alive tells whether the process still runs; a zombie does not.
func (p *Process) Alive() bool {
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 0
	}
}

// Ending tells whether the process has ended or is about to. A machine's
// processes die before its leader does, and so while Alive is still true.
func (p *Process) Ending() bool {
	text, err := p.Read("stat")
	if err != nil {
		return true
	}
	flags, err := statField(string(text), 9)
	const exiting = 0x4 // PF_EXITING
	return err != nil || flags&exiting != 0 || !p.Alive()
}

// OpenFile opens a file of the process's /proc directory, such as "ns/mnt".
func (p *Process) OpenFile(name string) (*os.File, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, p.wrap(name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(p.dir.Name(), name)), nil
}

// Read returns the content of a file of the process's /proc directory.
func (p *Process) Read(name string) ([]byte, error) {
	f, err := p.OpenFile(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		err = p.wrap(name, err)
	}
	return text, errors.Join(err, f.Close())
}

// Cgroup returns the process's cgroup in the unified hierarchy, such as
// "/machine.slice/x". It is empty where no such hierarchy is mounted.
func (p *Process) Cgroup() (string, error) {
	text, err := p.Read("cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, nil
		}
	}
	return "", nil
}

// RootIDs returns the host's user and group id of the machine's root.
func (p *Process) RootIDs() (uid, gid int, err error) {
	if uid, err = p.mapped("uid_map"); err != nil {
		return 0, 0, err
	}
	gid, err = p.mapped("gid_map")
	return uid, gid, err
}

func (p *Process) mapped(file string) (int, error) {
	text, err := p.Read(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "0" {
			return strconv.Atoi(f[1])
		}
	}
	return 0, fmt.Errorf("process %d: %s maps no root", p.PID, file)
}

// Started returns when the process was started.
func (p *Process) Started() (time.Time, error) {
	text, err := p.Read("stat")
	if err != nil {
		return time.Time{}, err
	}
	ticks, err := statField(string(text), 22)
	if err != nil {
		return time.Time{}, fmt.Errorf("process %d: %w", p.PID, err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}, fmt.Errorf("reading the boot clock: %w", err)
	}
	// USER_HZ is 100 on every architecture that Go knows.
	age := time.Duration(now.Nano()) - time.Duration(ticks)*(time.Second/100)
	return time.Now().Add(-age), nil
}

// statField returns a numeric field of /proc/PID/stat, counted from 1 as in
// proc(5). Field 2, the program's name in parentheses, may hold blanks and
// parentheses of its own.
func statField(stat string, n int) (int64, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("%q is no process status", stat)
	}
	fields := strings.Fields(stat[end+1:]) // the first is number 3
	if n < 3 || len(fields) < n-2 {
		return 0, fmt.Errorf("%q has no field %d", stat, n)
	}
	return strconv.ParseInt(fields[n-3], 10, 64)
}

// CapabilityBound returns the process's capability bounding set, one bit each.
func (p *Process) CapabilityBound() (uint64, error) {
	value, err := p.status("CapBnd")
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(value, 16, 64)
}

// NoNewPrivileges tells whether the process, and what it starts, can gain no
// privileges by what it executes.
func (p *Process) NoNewPrivileges() (bool, error) {
	value, err := p.status("NoNewPrivs")
	return value == "1", err
}

// handles tells whether the process waits for the signal or catches it.
func (p *Process) handles(signal int) (bool, error) {
	for _, field := range []string{"SigCgt", "SigBlk"} { // blocked, to be read from a descriptor
		value, err := p.status(field)
		if err != nil {
			return false, err
		}
		mask, err := strconv.ParseUint(value, 16, 64)
		if err != nil {
			return false, fmt.Errorf("process %d: %s %q: %w", p.PID, field, value, err)
		}
		if mask&(1<<(signal-1)) != 0 {
			return true, nil
		}
	}
	return false, nil
}

// namespacePIDs returns the numbers that the process has, ours first.
func (p *Process) namespacePIDs() ([]int, error) {
	value, err := p.status("NSpid")
	if err != nil {
		return nil, err
	}
	var pids []int
	for f := range strings.FieldsSeq(value) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("process %d: NSpid %q: %w", p.PID, value, err)
		}
		pids = append(pids, n)
	}
	return pids, nil
}

func (p *Process) status(field string) (string, error) {
	text, err := p.Read("status")
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("process %d: no %s in its status", p.PID, field)
}

// wrap says which file failed, or that the process ended meanwhile.
func (p *Process) wrap(file string, err error) error {
	if !p.Alive() {
		err = ErrGone
	}
	return fmt.Errorf("process %d: %s: %w", p.PID, file, err)
}

func gone(pid int, err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		err = ErrGone
	}
	return fmt.Errorf("process %d: %w", pid, err)
}
