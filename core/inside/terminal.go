package inside

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// Terminal gives a command one terminal of the machine's in place of three
// pipes: what it prints to standard error comes with the rest on Stdout.
type Terminal struct {
	Size   Size
	Resize <-chan Size // nil for a terminal that keeps its size
}

// Size is how much a terminal shows, in characters.
type Size struct{ Rows, Columns uint16 }

// terminal connects a command to a pty.
type terminal struct {
	pty    *Pty
	slave  *os.File
	from   io.Reader
	to     io.Writer
	resize <-chan Size
	ended  chan struct{}
	done   sync.WaitGroup
}

func openTerminal(cmd *exec.Cmd, c Command, machine *leader.Process) (*terminal, error) {
	uid, gid, err := machine.RootIDs()
	if err != nil {
		return nil, err
	}
	pty, err := OpenPty(machine)
	if err != nil {
		return nil, err
	}
	t := &terminal{pty: pty, from: c.Stdin, to: c.Stdout, resize: c.Terminal.Resize, ended: make(chan struct{})}
	if t.to == nil {
		t.to = io.Discard
	}
	if c.Terminal.Size != (Size{}) {
		err = pty.Resize(c.Terminal.Size)
	}
	if err == nil {
		t.slave, err = pty.slave(uid, gid)
	}
	if err != nil {
		return nil, errors.Join(err, pty.Master.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.slave, t.slave, t.slave
	return t, nil
}

func (t *terminal) abandon() error { return errors.Join(t.slave.Close(), t.pty.Master.Close()) }

func (t *terminal) flow() {
	_ = t.slave.Close() // the command has its own
	t.done.Go(func() { t.pty.Copy(t.to, t.from, t.ended) })
	go func() {
		for {
			select {
			case s, ok := <-t.resize:
				if !ok {
					return
				}
				_ = t.pty.Resize(s) // it only looks worse
			case <-t.ended:
				return
			}
		}
	}()
}

func (t *terminal) drain() {
	close(t.ended)
	t.done.Wait()
	_ = t.pty.Master.Close()
}
