package inside

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// grace is how long a command may take to end after a signal.
	grace = 10 * time.Second
	// together is how close two of the same signal are one: timeout(1) sends
	// its own to the process and to the group, a shell that is hung up as well.
	together = 300 * time.Millisecond
)

// A command that signals are passed on to, or that has a terminal, is the leader
// of a session of its own, which setsid, of the machine, makes. nsenter waits for
// it outside of that session: what is sent to the command's process group, or
// typed at its terminal, does not end nsenter, which has to tell how it ended.

// inSession is what makes argv the leader of a session.
func (c Command) inSession(argv []string) []string {
	switch {
	case c.Terminal != nil:
		return append([]string{"setsid", "-c", "--"}, argv...)
	case c.Signals != nil:
		return append([]string{"setsid", "--"}, argv...)
	}
	return argv
}

// family is a started command and what it started.
type family struct {
	nsenter  int
	command  int  // the leader of the session; 0 while it is not known
	signaled bool // something was passed on
}

// relay passes on what comes until the command has exited. The command is ended
// when the same signal comes twice, or when it has not ended some time after one.
func (f *family) relay(signals <-chan os.Signal, exited <-chan struct{}, patience time.Duration) {
	first := map[syscall.Signal]time.Time{}
	var over <-chan time.Time
	for {
		select {
		case <-exited:
			return
		case <-over:
			f.end()
		case s, ok := <-signals:
			n, is := s.(syscall.Signal)
			switch at, again := first[n]; {
			case !ok:
				signals = nil
			case !is:
			case !again:
				first[n] = time.Now()
				f.send(n)
				if over == nil {
					over = time.After(patience)
				}
			case time.Since(at) > together:
				f.end()
			}
		}
	}
}

// send signals the process group of the command at once, so that none that it is
// just starting is missed.
func (f *family) send(n syscall.Signal) {
	f.signaled = true
	f.find()
	if f.command != 0 && syscall.Kill(-f.command, n) == nil {
		return
	}
	_ = syscall.Kill(-f.nsenter, n) // it has not come as far as a session of its own
}

// find learns who the command is, while nsenter waits for it.
func (f *family) find() {
	if f.command == 0 {
		f.command = onlyChild(f.nsenter)
	}
}

// end kills the command and all that is in its session.
func (f *family) end() {
	f.find()
	f.sweep()
	_ = syscall.Kill(-f.nsenter, syscall.SIGKILL) // has ended by itself, but for one that started nothing
}

// sweep kills what is left in the session of the command.
func (f *family) sweep() {
	const rounds = 100 // what is killed may have just started another
	for range rounds {
		if f.command == 0 || !killSession(f.command) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// killSession kills all processes of a session that are in a machine, and tells
// whether there were any.
func killSession(session int) (any bool) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false // the pattern is right
	}
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || !isOf(path, session) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		// Who has the number by now is looked at again: this host's own are
		// never meant.
		if isOf(path, session) && !isOfThisHost(pid) {
			any = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil || any
		}
		_ = unix.Close(fd) // holds nothing
	}
	return any
}

// isOf tells whether a process is of a session, and no zombie.
func isOf(stat string, session int) bool {
	text, err := os.ReadFile(stat)
	if err != nil {
		return false
	}
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // after the name, see proc(5)
	const state, sid = 0, 3
	return len(f) > sid && string(f[state]) != "Z" && string(f[sid]) == strconv.Itoa(session)
}

// isOfThisHost is true of a process that is not in a machine, and of one that
// nothing can be said about.
func isOfThisHost(pid int) bool {
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	if err != nil {
		return true
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || theirs == ours
}

// onlyChild is the child of a process, and 0 when there is none.
func onlyChild(pid int) int {
	name := strconv.Itoa(pid)
	text, err := os.ReadFile(filepath.Join("/proc", name, "task", name, "children"))
	if err != nil {
		return 0
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return child
}
