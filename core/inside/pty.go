package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// Pty is a terminal in a machine, seen from its far end.
type Pty struct {
	Master *os.File
	// Number is that of the terminal in the machine: /dev/pts/NUMBER.
	Number int
}

// OpenPty makes a terminal in a running machine.
func OpenPty(machine *leader.Process) (*Pty, error) {
	fd, err := openMultiplexer(machine)
	if err != nil {
		return nil, fmt.Errorf("/dev/ptmx in the machine: %w", err)
	}
	p := &Pty{Master: os.NewFile(uintptr(fd), "ptmx")}
	if err := p.unlock(fd); err != nil {
		return nil, errors.Join(fmt.Errorf("/dev/ptmx in the machine: %w", err), p.Master.Close())
	}
	return p, nil
}

// openMultiplexer opens what makes terminals in the machine. The machine may
// have put anything there, and opening a pipe waits, opening a device may do
// something: so it is looked at first, and opened only when it is what it should
// be. A link, which systemd-nspawn makes of it, leads no further than the
// machine's own root.
func openMultiplexer(machine *leader.Process) (fd int, err error) {
	root, err := machine.OpenFile("root")
	if err != nil {
		return -1, err
	}
	defer func() { _ = root.Close() }()
	at, err := unix.Openat2(int(root.Fd()), "dev/ptmx", &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(at) }()
	if err := isMultiplexer(at); err != nil {
		return -1, err
	}
	// What is opened is what was looked at, whatever the name leads to by now.
	return unix.Open("/proc/self/fd/"+strconv.Itoa(at), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

func isMultiplexer(fd int) error {
	const ttyAuxMajor, ptmxMinor = 5, 2
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(ttyAuxMajor, ptmxMinor) {
		return errors.New("is not the device that it should be")
	}
	// The same device elsewhere finds the terminals by a name beside it.
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return errors.New("is not of the file system that terminals are in")
	}
	return nil
}

// unlock has the machine's end be opened, and learns its number.
func (p *Pty) unlock(fd int) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	var err error
	p.Number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	return err
}

// Resize tells the terminal how much it shows.
func (p *Pty) Resize(s Size) error {
	return p.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	})
}

func (p *Pty) control(f func(fd int) error) error {
	raw, err := p.Master.SyscallConn()
	if err != nil {
		return err
	}
	failure := raw.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(failure, err)
}

// Give makes the machine's end belong to its root: else nothing in the machine
// may open it.
func (p *Pty) Give(machine *leader.Process) error {
	uid, gid, err := machine.RootIDs()
	if err != nil {
		return err
	}
	slave, err := p.slave(uid, gid)
	if err != nil {
		return err
	}
	return slave.Close()
}

// slave opens the machine's end, whatever its /dev/pts shows by now.
func (p *Pty) slave(uid, gid int) (*os.File, error) {
	var f *os.File
	err := p.control(func(fd int) error {
		got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			return errno
		}
		f = os.NewFile(got, "/dev/pts/"+strconv.Itoa(p.Number))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening a terminal in the machine: %w", err)
	}
	// Else it belongs to nobody there, and no login may take it over.
	if err := f.Chown(uid, gid); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Copy passes what is printed on to out and what is typed to the terminal,
// until ended is closed and nothing more comes. A terminal that nobody has open
// in the machine is not at its end: a login opens it anew.
func (p *Pty) Copy(out io.Writer, in io.Reader, ended <-chan struct{}) {
	go func() {
		if in != nil {
			_, _ = io.Copy(p.Master, in) // nobody reads it any more
		}
	}()
	returned := make(chan struct{})
	defer close(returned)
	go func() {
		select {
		case <-ended:
			_ = p.Master.SetReadDeadline(time.Now().Add(linger)) // wakes the reader
		case <-returned:
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		over := isClosed(ended)
		n, err := p.Master.Read(buf)
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return
			}
		}
		switch {
		case err == nil:
		case over:
			rest(out, p.Master)
			return
		case errors.Is(err, unix.EIO), errors.Is(err, os.ErrDeadlineExceeded):
			select {
			case <-ended:
			case <-time.After(20 * time.Millisecond):
			}
		default:
			return
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
