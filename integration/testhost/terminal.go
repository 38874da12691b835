package testhost

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a program that runs on a terminal of the host, as one that a
// user sits at. What it prints is in Stdout.
type Terminal struct {
	*Process
	master *os.File
	slave  *os.File      // held open, so that its modes can be looked at afterwards
	read   chan struct{} // closed when nothing is left to read
}

// StartOnTerminal starts a program on a terminal of its own with that many rows
// and columns. The program is killed when the test ends.
func (h *Host) StartOnTerminal(t testing.TB, rows, columns uint16, c Command) *Terminal {
	t.Helper()
	master, slave, err := h.openTerminal()
	if err != nil {
		t.Fatalf("open a terminal of the host: %v", err)
	}
	terminal := &Terminal{master: master, slave: slave, read: make(chan struct{})}
	terminal.Resize(t, rows, columns)
	printed := newTranscript()
	c.terminal = slave
	if terminal.Process, err = h.spawn(c, nil, nil); err != nil {
		t.Fatalf("start %q on the host: %v", c.Args, err)
	}
	terminal.Stdout, terminal.Stderr = printed, newTranscript()
	go func() {
		defer close(terminal.read)
		buf := make([]byte, 32<<10)
		for {
			n, err := master.Read(buf)
			_, _ = printed.Write(buf[:n]) // never fails
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%q printed on its terminal:\n%s", c.Args, printed)
		}
		_ = terminal.Signal(unix.SIGKILL) // already gone is as good
		<-terminal.ended
		_ = errors.Join(slave.Close(), master.Close()) // the terminal may be hung up
	})
	return terminal
}

func (h *Host) openTerminal() (master, slave *os.File, err error) {
	err = onOwnThread(func() error {
		if err := h.enter(); err != nil {
			return err
		}
		fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/dev/ptmx: %w", err)
		}
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			return errors.Join(errno, unix.Close(fd))
		}
		master, slave = os.NewFile(uintptr(fd), "master"), os.NewFile(peer, "slave")
		return nil
	})
	return master, slave, err
}

// Type sends keys.
func (s *Terminal) Type(t testing.TB, keys string) {
	t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		t.Fatalf("type %q: %v", keys, err)
	}
}

// Resize changes the size, of which the program gets SIGWINCH.
func (s *Terminal) Resize(t testing.TB, rows, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(s.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatalf("resize the terminal: %v", err)
	}
}

// Mode is what the terminal does with what is typed and printed.
func (s *Terminal) Mode(t testing.TB) unix.Termios {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatalf("read the terminal's modes: %v", err)
	}
	return *mode
}

// Wait waits for the program, and for what it printed to have been read.
func (s *Terminal) Wait(t testing.TB, deadline time.Duration) Result {
	t.Helper()
	r := s.Process.Wait(t, deadline)
	const end = "\x01that is all\x01"
	if _, err := s.slave.WriteString(end); err == nil {
		for late := time.Now().Add(10 * time.Second); !strings.Contains(s.Stdout.String(), end) && time.Now().Before(late); {
			time.Sleep(2 * time.Millisecond)
		}
	} else { // it was hung up, as it is with the end of who leads its session
		select {
		case <-s.read:
		case <-time.After(10 * time.Second):
		}
	}
	r.Stdout, _, _ = strings.Cut(s.Stdout.String(), end)
	return r
}

// HangUp takes the terminal away, as closing its window does.
func (s *Terminal) HangUp() error { return errors.Join(s.slave.Close(), s.master.Close()) }
