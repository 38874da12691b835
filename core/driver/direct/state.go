package direct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// state is what a supervisor says of itself and its machine. It means
// something only while that supervisor holds the lock.
type state struct {
	Supervisor int  `json:"supervisor"`
	Leader     int  `json:"leader,omitempty"`
	Ready      bool `json:"ready,omitempty"`
}

func writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	// What /run holds need not outlive a power cut: it is not synced.
	if err := renameio.WriteFile(path, append(text, '\n'), 0o600, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func readJSON(path string, value any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// supervised returns the state of the machine's supervisor, and whether there
// is one.
func (f files) supervised() (state, bool, error) {
	running, err := held(f.lock())
	if err != nil || !running {
		return state{}, false, err
	}
	var s state
	err = readJSON(f.state(), &s)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, true, nil // it has only just begun, or is about to end
	}
	return s, true, err
}

// Status tells whether the machine's leader runs.
func (d *Driver) Status(_ context.Context, name string) (driver.Status, error) {
	stopped := driver.Status{State: driver.Stopped}
	f, err := d.files(name)
	if err != nil {
		return stopped, err
	}
	s, running, err := f.supervised()
	if err != nil || !running || s.Leader == 0 {
		return stopped, err
	}
	p, err := leader.Open(s.Leader)
	if errors.Is(err, leader.ErrGone) || errors.Is(err, leader.ErrNotLeader) {
		return stopped, nil // amid a stop or a reboot
	}
	if err != nil {
		return stopped, err
	}
	since, err := p.Started()
	if err := errors.Join(err, p.Close()); errors.Is(err, leader.ErrGone) {
		return stopped, nil
	} else if err != nil {
		return stopped, err
	}
	return driver.Status{State: driver.Running, Leader: s.Leader, Since: since}, nil
}

// Console returns the end of the machine's console, also of one that ended by
// itself, until it is stopped or started again.
func (d *Driver) Console(_ context.Context, name string, lines int) ([]string, error) {
	f, err := d.files(name)
	if err != nil {
		return nil, err
	}
	return console.Tail(f.console(), lines)
}
