package hostlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// ErrNotKept says that no process keeps the link of a machine.
var ErrNotKept = errors.New("nobody keeps the link of the machine")

// patient bounds how long a keeper may take to do as it is told.
const patient = 20 * time.Second

// largestWish bounds what a keeper reads.
const largestWish = 1 << 20

// wish is another link that a keeper is asked to hold.
type wish struct {
	link   Link
	answer chan<- error
}

// reply is what the keeper says, as JSON.
type reply struct {
	Error string `json:"error,omitempty"`
}

// keeperSocket is where the keeper of a machine listens, in a directory that
// only root may enter.
func keeperSocket(dir, machine string) string { return filepath.Join(dir, "keepers", machine) }

// Change has the keeper of a machine that runs hold another link from here on:
// other ports and other bounds. Rules are replaced in one step, and connections
// that are open and still allowed stay. When it fails, all is as it was.
// ErrNotKept when there is no keeper.
func Change(ctx context.Context, c Config, l Link) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", keeperSocket(c.RuntimeDir, l.Machine))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s: %w", l.Machine, ErrNotKept)
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if err := json.NewEncoder(conn).Encode(l); err != nil {
		return fmt.Errorf("telling the keeper of %s: %w", l.Machine, err)
	}
	var r reply
	if err := json.NewDecoder(io.LimitReader(conn, largestWish)).Decode(&r); err != nil {
		return fmt.Errorf("the keeper of the link of %s does not answer: %w", l.Machine, err)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}

// listenForWishes takes wishes until stop is called.
func (k *Keeper) listenForWishes(ctx context.Context) (wishes <-chan wish, stop func(), err error) {
	path := keeperSocket(k.config.RuntimeDir, k.link.Machine)
	var listener net.Listener
	// The directory goes with the last that uses it, which may be now.
	for range 100 {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), remove(path)); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, nil, err
		}
		listener, err = (&net.ListenConfig{Control: private}).Listen(ctx, "unix", path)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	all := make(chan wish)
	done := make(chan struct{})
	go func() {
		defer close(done)
		takeAll(ctx, listener, func(conn net.Conn) { hear(ctx, conn, all) })
	}()
	return all, func() {
		cancel()
		_ = listener.Close() // removes the socket
		<-done
	}, nil
}

// removeSocket removes what a keeper that was killed left, and the directory
// with the last.
func removeSocket(dir, machine string) error {
	path := keeperSocket(dir, machine)
	err := remove(path)
	_ = os.Remove(filepath.Dir(path)) // not empty: other machines run
	return err
}

// private makes a socket that only root may connect to, whatever the umask.
func private(_, _ string, raw syscall.RawConn) error {
	return setOption(raw, func(fd int) error { return unix.Fchmod(fd, 0o600) })
}

// hear passes one wish on, and answers when it is fulfilled.
func hear(ctx context.Context, conn net.Conn, to chan<- wish) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patient)) // who is silent does not keep others waiting
	var l Link
	if err := json.NewDecoder(io.LimitReader(conn, largestWish)).Decode(&l); err != nil {
		return
	}
	answer := make(chan error, 1)
	var r reply
	select {
	case to <- wish{l, answer}:
		if err := <-answer; err != nil {
			r.Error = err.Error()
		}
	case <-ctx.Done():
		r.Error = "the machine is being stopped"
	}
	_ = json.NewEncoder(conn).Encode(r) // who asked may have gone
}

// adopt holds another link from here on, or goes on as before.
func (k *Keeper) adopt(ctx context.Context, l Link) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.link
	switch {
	case !l.same(old):
		return fmt.Errorf("the link of %s is another since it booted: restart it", l.Machine)
	case l.Egress != spec.EgressAny && !l.Address.IsValid():
		return fmt.Errorf("the address of %s is not known: what it reaches cannot be bounded", l.Machine)
	}
	if k.ports == nil {
		k.ports = newPorts(ctx, l)
	}
	if err := k.ports.change(l.Publish); err != nil {
		return err
	}
	k.link = l
	var err error
	if l.Needed() {
		err = k.install()
	} else if err = removeTable(l.Machine); err == nil {
		k.closed, k.rules = nil, nil
	}
	if err != nil {
		k.link = old
		return errors.Join(err, k.ports.change(old.Publish))
	}
	return nil
}

// same tells whether two links are the same but for what of them can change.
func (l Link) same(o Link) bool {
	return l.Machine == o.Machine && l.Interface == o.Interface && l.HostSide == o.HostSide && l.Address == o.Address && l.Builtin == o.Builtin
}
