package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
	"github.com/nspawn-build/nspawn-build/core/inside"
)

// Machine is the end in a machine.
type Machine struct {
	run func(ctx context.Context, order string, in io.Reader, out, err io.Writer) (code int, failure error)
	// shift is what its owners on disk have more than they have in the machine.
	shift int
	root  bool
}

// Running is the end in a machine that runs, which sees what the machine sees:
// its binds, its /tmp.
func Running(leader int) Machine {
	return Machine{run: func(ctx context.Context, order string, in io.Reader, out, errs io.Writer) (_ int, err error) {
		program, err := ourselves()
		if err != nil {
			return -1, err
		}
		defer func() { err = errors.Join(err, program.Close()) }()
		return inside.Command{
			Leader: leader, Program: program, Argv: []string{"nspawn-build", initArgument, order},
			Stdin: in, Stdout: out, Stderr: errs,
		}.Run(ctx)
	}}
}

// Stopped is the end in the tree of a machine that is off. Nobody may boot it
// meanwhile.
func Stopped(root *os.File) (Machine, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err != nil {
		return Machine{}, err
	}
	return Machine{shift: int(st.Uid), root: true, run: func(ctx context.Context, order string, in io.Reader, out, errs io.Writer) (int, error) {
		if err := inherit.Nothing(); err != nil {
			return -1, err
		}
		cmd := exec.CommandContext(ctx, "/proc/self/exe", initArgument, order)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.ExtraFiles = []*os.File{root}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			return exit.ExitCode(), nil
		}
		return 0, err
	}}, nil
}

// ourselves is a copy of this program that nobody can write to: what runs in
// the machine may be looked at there, and reopened.
func ourselves() (*os.File, error) {
	fd, err := unix.MemfdCreate("nspawn-build", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("copying this program: %w", err)
	}
	to := os.NewFile(uintptr(fd), "nspawn-build")
	from, err := os.Open("/proc/self/exe")
	if err == nil {
		_, err = io.Copy(to, from)
		err = errors.Join(err, from.Close())
	}
	if err == nil {
		_, err = unix.FcntlInt(to.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copying this program: %w", err), to.Close())
	}
	return to, nil
}

// Push copies what name leads to on this host to a destination in the machine.
func (m Machine) Push(ctx context.Context, name, destination string, o Options, skipped func(string)) error {
	return m.PushStream(ctx, destination, o, skipped, func(to io.Writer) error { return Pack(to, name, skipped) })
}

// PushStream copies the tar stream that pack writes.
func (m Machine) PushStream(ctx context.Context, destination string, o Options, skipped func(string), pack func(io.Writer) error) error {
	o.Shift = m.shift
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(w)
		_ = w.CloseWithError(err) // a pipe's never fails
		packed <- err
	}()
	failure := m.obey(ctx, order{Unpack: destination, How: o, Root: m.root}, r, io.Discard, skipped)
	_ = r.CloseWithError(io.ErrClosedPipe) // a pipe's never fails
	if err := <-packed; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err // what the other end says of it is that nothing came
	}
	return failure
}

// Pull copies what name leads to in the machine to a destination on this host.
func (m Machine) Pull(ctx context.Context, name, destination string, o Options, skipped func(string)) error {
	o.Shift, o.Skipped = -m.shift, skipped
	if !o.Keep {
		o.Shift = 0
	}
	return m.PullStream(ctx, name, skipped, func(from io.Reader) error { return Unpack(ctx, from, destination, o) })
}

// PullStream has unpack read the tar stream of what name leads to.
func (m Machine) PullStream(ctx context.Context, name string, skipped func(string), unpack func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := unpack(r)
		if err == nil {
			_, err = io.Copy(io.Discard, r) // what pads the stream
		} else {
			cancel() // nobody reads the rest
		}
		_ = r.CloseWithError(err) // a pipe's never fails
		unpacked <- err
	}()
	failure := m.obey(ctx, order{Pack: name, Root: m.root}, nil, w, skipped)
	if failure != nil {
		_ = w.CloseWithError(failure) // a pipe's never fails
	} else {
		_ = w.Close() // a pipe's never fails
	}
	err := <-unpacked
	if failure != nil && (err == nil || errors.Is(err, failure)) {
		return failure
	}
	return err
}

// obey has the end in the machine do something, and reads what it says of it
// as what a stranger says.
func (m Machine) obey(ctx context.Context, o order, in io.Reader, out io.Writer, skipped func(string)) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	said := &limited{left: 1 << 20}
	code, err := m.run(ctx, string(text), in, out, said)
	if err != nil {
		return err
	}
	problem := "the copy failed in the machine"
	for _, line := range console.Lines(said.String()) {
		if left, ok := strings.CutPrefix(line, leftOut); ok {
			skipped(left)
		} else {
			problem = line
		}
	}
	if code == 0 {
		return nil
	}
	if strings.HasSuffix(problem, ErrExists.Error()) {
		return fmt.Errorf("in the machine: %s%w", strings.TrimSuffix(problem, ErrExists.Error()), ErrExists)
	}
	return errors.New("in the machine: " + problem)
}

// limited keeps the first bytes.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.Buffer.Write(p[:n])
	return len(p), nil
}
