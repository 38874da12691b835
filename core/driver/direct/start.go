package direct

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
)

// news is what a supervisor tells the process that started it, one JSON object
// a line. The last is Ready or an Error.
type news struct {
	Warning string `json:"warning,omitempty"`
	Ready   bool   `json:"ready,omitempty"`
	Busy    bool   `json:"busy,omitempty"`  // another supervisor was faster
	Ended   bool   `json:"ended,omitempty"` // driver.ErrEnded, for the reason in Error
	Error   string `json:"error,omitempty"`
}

// newsVariable names the descriptor that the supervisor reports to.
const newsVariable = "NSPAWN_BUILD_NEWS_FD"

// Start starts a supervisor and waits until it says that the machine is up.
// When ctx ends before, the machine is asked to power off again.
func (d *Driver) Start(ctx context.Context, m driver.Machine) error {
	f, err := d.files(m.Name)
	if err != nil {
		return err
	}
	for {
		running, err := d.waitSupervised(ctx, m.Name, f)
		if err != nil || running {
			return err
		}
		busy, err := d.launch(ctx, m, f)
		if err != nil {
			return fmt.Errorf("starting %s: %w", m.Name, err)
		}
		if !busy {
			return nil
		}
	}
}

// waitSupervised tells whether the machine is up; one that is being started or
// stopped is waited for.
func (d *Driver) waitSupervised(ctx context.Context, name string, f files) (bool, error) {
	pause := 5 * time.Millisecond
	for {
		s, running, err := f.supervised()
		if err != nil || !running || s.Ready {
			return s.Ready, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false, fmt.Errorf("waiting for the running supervisor of %s: %w", name, context.Cause(ctx))
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// launch runs one supervisor until the machine is up. busy means that another
// one holds the machine.
func (d *Driver) launch(ctx context.Context, m driver.Machine, f files) (busy bool, err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return false, err
	}
	if err := writeJSON(f.description(), m); err != nil {
		return false, err
	}
	listen, report, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, listen.Close()) }()
	supervisor, err := d.spawn(m.Name, f, report)
	if err = errors.Join(err, report.Close()); err != nil {
		return false, err
	}
	// It outlives us, or ends while we live on: then it is to be reaped.
	go func() { _ = supervisor.Wait() }()

	last := make(chan news, 1)
	go func() { last <- d.follow(listen) }()
	select {
	case n := <-last:
		return n.outcome()
	case <-ctx.Done():
		_ = supervisor.Process.Signal(syscall.SIGTERM) // it may have ended
		return false, context.Cause(ctx)
	}
}

func (d *Driver) spawn(name string, f files, report *os.File) (*exec.Cmd, error) {
	if err := inherit.Nothing(); err != nil {
		return nil, err
	}
	// What the supervisor itself says on its way down is read with the rest.
	log, err := os.OpenFile(f.console(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	argv := append(append([]string(nil), d.config.Self...), name)
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it outlives this process
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8", newsVariable + "=3",
	}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{report}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the supervisor: %w", err), log.Close())
	}
	return cmd, log.Close()
}

// follow passes on warnings until the supervisor's last word.
func (d *Driver) follow(listen *os.File) news {
	lines := bufio.NewScanner(listen)
	for lines.Scan() {
		var n news
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return news{Error: fmt.Sprintf("the supervisor said %q", lines.Text())}
		}
		if n.Warning == "" {
			return n
		}
		d.config.Warn(n.Warning)
	}
	return news{Error: "the supervisor ended without a word"}
}

func (n news) outcome() (busy bool, err error) {
	switch {
	case n.Ready, n.Busy:
		return n.Busy, nil
	case n.Ended:
		return false, fmt.Errorf("%w: %s", driver.ErrEnded, n.Error)
	}
	return false, errors.New(n.Error)
}
