package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/quarters"
)

// order is what the first process of a room, as the namespaces of one run are
// called here, is told.
type order struct {
	Target  Target
	Group   string // the cgroup that it is in, below the hierarchies' roots
	Systemd int    // the version of systemd-nspawn
}

// word is what it says, one JSON object a line. The last is a Report or a Fault.
type word struct {
	Check  *Check  `json:"check,omitempty"`
	Report *Report `json:"report,omitempty"`
	Fault  *Error  `json:"fault,omitempty"`
}

// The descriptors of the first process: its order, which is never closed as long
// as the run is wanted, and where it says what it has found.
const (
	fdOrder = 3
	fdWords = 4
)

// prefix is of the names of a run's quarters and, on a host without systemd, of
// its cgroup. No machine's cgroup is called like that.
const prefix = "nspawn-verify-"

// ending is how long a room may take to be gone once it was killed.
const ending = 20 * time.Second

// kept are the quarters of runs; what a killed one left is its cgroup.
var kept = quarters.Kind{Prefix: prefix, Clear: func(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), ending)
	defer cancel()
	return clearGroup(ctx, filepath.Base(dir))
}}

// clearGroup ends what runs in a cgroup of ours and removes it. The first process
// of a room that was killed needs none of this: all of it died.
func clearGroup(ctx context.Context, name string) error {
	hierarchies, err := cgroup.Find()
	if err != nil {
		return err
	}
	g := hierarchies.Group(name)
	return errors.Join(g.Kill(ctx), g.Remove(ctx))
}

func run(ctx context.Context, t Target, h host.Host, tell func(Check)) (r Report, err error) {
	q, err := kept.Take(t.RuntimeDir)
	if err != nil {
		return Report{}, fmt.Errorf("a directory for the run: %w", err)
	}
	defer func() { err = errors.Join(err, q.Leave()) }()
	room := &room{name: filepath.Base(q.Dir), systemd: h.Systemd}
	// In case nothing in the room keeps the time.
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout+t.CheckTimeout+time.Minute, errors.New("the verification did not end in time"))
	defer cancel()
	if err := room.open(ctx); err != nil {
		return Report{}, errors.Join(err, room.close(ctx))
	}
	stop := context.AfterFunc(ctx, room.kill)
	defer stop()
	r, err = room.converse(order{Target: t, Group: room.group, Systemd: h.SystemdVersion}, tell)
	if ctx.Err() != nil {
		r, err = Report{}, context.Cause(ctx)
	}
	return r, errors.Join(err, room.close(ctx))
}

// room is the namespaces of one run, as the host sees them.
type room struct {
	name    string
	systemd bool
	group   string // its cgroup

	cmd    *exec.Cmd
	exited chan struct{}
	order  *os.File
	words  *os.File
	said   bytes.Buffer // on standard error; for when it ends without a word
}

// open starts the first process, which waits for its order.
func (r *room) open(ctx context.Context) error {
	if err := inherit.Nothing(); err != nil {
		return err
	}
	orderR, orderW, err := os.Pipe()
	if err != nil {
		return err
	}
	wordsR, wordsW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, orderR.Close(), orderW.Close())
	}
	r.order, r.words = orderW, wordsR
	r.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{"nspawn-build", initArgument}, Dir: "/",
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root",
		},
		Stderr: &r.said, ExtraFiles: []*os.File{orderR, wordsW}, // fdOrder and so on
		WaitDelay: time.Second,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Pdeathsig:  syscall.SIGKILL,
			Setsid:     true,
		},
	}
	most, err := ownBounds()
	if err == nil {
		err = r.start(most)
	}
	if err = errors.Join(err, orderR.Close(), wordsW.Close()); err != nil {
		return err
	}
	if r.systemd {
		r.group, err = scope(ctx, r.name+".scope", r.cmd.Process.Pid, most)
	}
	return err
}

// start starts it in its cgroup where no service manager gives it one, on a
// thread that lives as long as it does: the kernel sends the parent-death
// signal when the thread ends that forked.
func (r *room) start(most bounds) error {
	begin := r.cmd.Start
	if !r.systemd {
		hierarchies, err := cgroup.Find()
		if err != nil {
			return err
		}
		r.group = r.name
		g := hierarchies.Group(r.group)
		if err := g.Create(); err != nil {
			return err
		}
		most.on(g)
		begin = func() error { return g.Start(r.cmd) }
	}
	started := make(chan error)
	exited := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := begin()
		started <- err
		if err == nil {
			_ = r.cmd.Wait() // what it said tells more
			close(exited)
		}
	}()
	err := <-started
	switch {
	case errors.Is(err, unix.EPERM):
		return &Error{Problem: "a verification needs namespaces of its own, which were refused", Hint: "run nspawn-build as root; in a container, give it CAP_SYS_ADMIN"}
	case err != nil:
		return fmt.Errorf("starting the first process of the namespaces: %w", err)
	}
	r.exited = exited
	return nil
}

// converse gives the order and listens until the last word.
func (r *room) converse(o order, tell func(Check)) (Report, error) {
	if err := json.NewEncoder(r.order).Encode(o); err != nil {
		return Report{}, fmt.Errorf("giving the order: %w: %s", err, r.lastWords())
	}
	words := json.NewDecoder(r.words)
	for {
		var w word
		err := words.Decode(&w)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return Report{}, fmt.Errorf("the verification ended without a word: %s", r.lastWords())
		case err != nil:
			return Report{}, fmt.Errorf("listening to the verification: %w", err)
		case w.Fault != nil:
			return Report{}, w.Fault
		case w.Report != nil:
			return *w.Report, nil
		case w.Check != nil:
			tell(*w.Check)
		}
	}
}

func (r *room) lastWords() string {
	r.kill()
	select {
	case <-r.exited:
		return strings.Join(console.Last(console.Lines(r.said.String()), 10), "; ")
	case <-time.After(ending):
		return "it does not end"
	}
}

// kill ends the namespaces: the kernel kills everything in them.
func (r *room) kill() {
	if r.exited != nil {
		_ = r.cmd.Process.Kill() // unless it has ended already
	}
}

// close ends the room and removes what is not the namespaces'. The service
// manager removes a scope by itself.
func (r *room) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ending)
	defer cancel()
	if r.exited != nil {
		r.kill()
		select {
		case <-r.exited:
		case <-ctx.Done():
			return errors.New("the verification was killed and did not end")
		}
	}
	for _, f := range []*os.File{r.order, r.words} {
		if f != nil {
			_ = f.Close()
		}
	}
	if r.group == "" {
		return nil
	}
	if r.systemd {
		return scopeGone(ctx, r.group)
	}
	return clearGroup(ctx, r.group)
}
