package inside

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// linger is how long a pipe that something left behind in the machine holds
// open is read on after the last byte, once the command has ended.
const linger = 200 * time.Millisecond

// streams are the pipes between us and the command.
type streams struct {
	stdin  *os.File // our ends
	outs   []*os.File
	theirs []*os.File

	from   io.Reader
	to     []io.Writer
	exited chan struct{}
	done   sync.WaitGroup
}

// connect gives cmd three pipes that belong to the machine's root, so that
// opening /dev/stdout works inside.
func connect(cmd *exec.Cmd, c Command, machine *leader.Process) (*streams, error) {
	s := &streams{from: c.Stdin, exited: make(chan struct{})}
	uid, gid, err := machine.RootIDs()
	if err != nil {
		return nil, err
	}
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, errors.Join(err, s.abandon())
		}
		ours, theirs := r, w
		if i == 0 {
			ours, theirs = w, r
			s.stdin = ours
		} else {
			s.outs = append(s.outs, ours)
		}
		s.theirs = append(s.theirs, theirs)
		if err := theirs.Chown(uid, gid); err != nil {
			return nil, errors.Join(err, s.abandon())
		}
	}
	for _, w := range []io.Writer{c.Stdout, c.Stderr} {
		if w == nil {
			w = io.Discard
		}
		s.to = append(s.to, w)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.theirs[0], s.theirs[1], s.theirs[2]
	return s, nil
}

// abandon closes the pipes of a command that was not started.
func (s *streams) abandon() error {
	var errs []error
	for _, f := range s.theirs {
		errs = append(errs, f.Close())
	}
	for _, f := range s.outs {
		errs = append(errs, f.Close())
	}
	if s.stdin != nil {
		errs = append(errs, s.stdin.Close())
	}
	return errors.Join(errs...)
}

// flow starts copying, after the command has been started.
func (s *streams) flow() {
	for _, f := range s.theirs {
		_ = f.Close() // the command has its own
	}
	go func() {
		if s.from != nil {
			_, _ = io.Copy(s.stdin, s.from) // the command need not read it all
		}
		_ = s.stdin.Close()
	}()
	for i, r := range s.outs {
		s.done.Go(func() { s.pass(s.to[i], r) })
	}
}

// pass copies until the pipe's end; after the command's exit, until nothing
// came for a while. When the writer fails, the command's own next write does.
func (s *streams) pass(to io.Writer, from *os.File) {
	defer func() { _ = from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			rest(to, from)
		}
		if err != nil {
			return
		}
		select {
		case <-s.exited:
			_ = from.SetReadDeadline(time.Now().Add(linger))
		default:
		}
	}
}

// drain waits for the rest of the output of a command that has ended.
func (s *streams) drain() {
	close(s.exited)
	for _, r := range s.outs {
		_ = r.SetReadDeadline(time.Now().Add(linger)) // may be closed already
	}
	s.done.Wait()
	_ = s.stdin.Close() // no reader is left
}

// rest copies what is there by now, without waiting: a deadline that passed
// while this process did not come to read says nothing of what there was to read.
func rest(to io.Writer, from *os.File) {
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 32<<10)
	const most = 1 << 20 // what a pipe holds; somebody may go on writing
	for copied := 0; copied < most; {
		n := 0
		if raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), buf) }) != nil || err != nil || n <= 0 {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		copied += n
	}
}
