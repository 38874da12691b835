package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/nspawn-build/nspawn-build/core/inside"
)

// errNoTerminal says that a verb needs somebody at a terminal.
var errNoTerminal = &usageError{"standard input is not a terminal", "use exec for a command without one, as in nspawn-build exec NAME COMMAND"}

// keyboard is our own terminal while a machine has it: raw, so that every key
// goes into the machine, and followed when its size changes.
type keyboard struct {
	fd      int
	was     *term.State
	resize  chan inside.Size
	signals chan os.Signal
}

// takeKeyboard makes our terminal raw. Without one there is nothing to take, and
// keyboard does nothing.
func (a *app) takeKeyboard() (*keyboard, error) {
	fd, is := terminal(a.in)
	k := &keyboard{fd: fd}
	if !is {
		return k, nil
	}
	a.progress.close()
	was, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	k.was = was
	k.resize = make(chan inside.Size, 1)
	k.signals = make(chan os.Signal, 1)
	signal.Notify(k.signals, unix.SIGWINCH)
	go func() {
		defer close(k.resize)
		for range k.signals {
			select {
			case <-k.resize: // nobody has taken the one before
			default:
			}
			k.resize <- k.size()
		}
	}()
	return k, nil
}

// size is what our terminal shows; zero without one.
func (k *keyboard) size() inside.Size {
	ws, err := unix.IoctlGetWinsize(k.fd, unix.TIOCGWINSZ)
	if err != nil {
		return inside.Size{}
	}
	return inside.Size{Rows: ws.Row, Columns: ws.Col}
}

// giveBack makes the terminal what it was.
func (k *keyboard) giveBack() error {
	if k.was == nil {
		return nil
	}
	signal.Stop(k.signals)
	close(k.signals)
	return term.Restore(k.fd, k.was)
}

// terminal is what a command in the machine gets.
func (k *keyboard) terminal() *inside.Terminal {
	t := &inside.Terminal{Resize: k.resize}
	if k.was != nil {
		t.Size = k.size()
	}
	return t
}

var errLeft = errors.New("left by ^]^]^]")

const (
	escapeKey   = 0x1d // ^]
	escapeTimes = 3
)

// escapable reads the keyboard until the escape key was pressed three times
// within a second, as machinectl has it, and calls leave then.
type escapable struct {
	from    io.Reader
	leave   func()
	presses []time.Time
}

func (e *escapable) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	for _, b := range p[:n] {
		if b != escapeKey {
			e.presses = nil
			continue
		}
		e.presses = append(e.presses, time.Now())
		if m := len(e.presses); m >= escapeTimes && e.presses[m-1].Sub(e.presses[m-escapeTimes]) < time.Second {
			e.leave()
			return 0, io.EOF
		}
	}
	return n, err
}

// termType is what programs in the machine are to know our terminal as.
func termType() string {
	if t := os.Getenv("TERM"); t != "" {
		return "TERM=" + t
	}
	return "TERM=vt220"
}
