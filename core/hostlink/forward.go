package hostlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

const (
	forwardSwitch = "/proc/sys/net/ipv4/ip_forward"
	bootID        = "/proc/sys/kernel/random/boot_id"
)

// forwarding is the note that this program turned forwarding on, and for whom.
// It exists only then: where forwarding was on already it is left on.
type forwarding struct {
	Was      string   `json:"was"`
	Boot     string   `json:"boot"` // a note of an earlier boot says nothing
	Machines []string `json:"machines"`
}

func forwardNote(dir string) string { return filepath.Join(dir, "forwarding.json") }

// startForwarding lets this host pass packets between links.
func startForwarding(ctx context.Context, dir, machine string) error {
	return withForwarding(ctx, dir, func() error {
		note, err := readForwarding(dir)
		if err != nil {
			return err
		}
		was, err := os.ReadFile(forwardSwitch)
		if err != nil {
			return err
		}
		was = bytes.TrimSpace(was)
		if note == nil {
			if string(was) != "0" {
				return nil
			}
			boot, err := currentBoot()
			if err != nil {
				return err
			}
			note = &forwarding{Was: string(was), Boot: boot}
		}
		if !slices.Contains(note.Machines, machine) {
			note.Machines = append(note.Machines, machine)
		}
		// The note first: after a crash in between, putting back what was
		// not changed does no harm.
		if err := writeForwarding(dir, note); err != nil {
			return err
		}
		if string(was) != "0" {
			return nil
		}
		return setSwitch("1")
	})
}

// stopForwarding puts the switch back when this program changed it and no other
// machine needs it. Somebody else who came to rely on it meanwhile cannot be
// known; it is put back only if it still is as we left it.
func stopForwarding(ctx context.Context, dir, machine string) error {
	if _, err := os.Stat(forwardNote(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return withForwarding(ctx, dir, func() error {
		note, err := readForwarding(dir)
		if err != nil {
			return err
		}
		if note == nil {
			return remove(forwardNote(dir))
		}
		note.Machines = slices.DeleteFunc(note.Machines, func(m string) bool { return m == machine })
		if len(note.Machines) > 0 {
			return writeForwarding(dir, note)
		}
		now, err := os.ReadFile(forwardSwitch)
		if err != nil {
			return err
		}
		if string(bytes.TrimSpace(now)) == "1" {
			if err := setSwitch(note.Was); err != nil {
				return err
			}
		}
		return remove(forwardNote(dir))
	})
}

// readForwarding returns nil where there is no note of this boot.
func readForwarding(dir string) (*forwarding, error) {
	text, err := os.ReadFile(forwardNote(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no note
	}
	if err != nil {
		return nil, err
	}
	var note forwarding
	if err := json.Unmarshal(text, &note); err != nil {
		return nil, fmt.Errorf("%s: %w", forwardNote(dir), err)
	}
	boot, err := currentBoot()
	if err != nil || note.Boot != boot {
		return nil, err
	}
	return &note, nil
}

func writeForwarding(dir string, note *forwarding) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return renameio.WriteFile(forwardNote(dir), append(text, '\n'), 0o600, renameio.IgnoreUmask())
}

// withForwarding runs f while nobody else looks at the switch or the note.
func withForwarding(ctx context.Context, dir string, f func() error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("forwarding between links (net.ipv4.ip_forward): %w", err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// The directory goes with the last that uses it, which may be now.
	for {
		if err = withLocked(ctx, dir, f); !errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
			return err
		}
	}
}

// withLocked locks the directory itself, so that no lock file is left behind.
func withLocked(ctx context.Context, dir string, f func() error) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	defer func() { err = errors.Join(err, lock.Close()) }()
	if ok, err := lock.TryLockContext(ctx, 5*time.Millisecond); !ok {
		return errors.Join(errors.New("another process holds the lock"), err)
	}
	ours, err := lock.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(dir)
	if err == nil && !os.SameFile(ours, there) {
		err = fs.ErrNotExist // what we locked was removed meanwhile
	}
	if err != nil {
		return err
	}
	return f()
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func currentBoot() (string, error) {
	text, err := os.ReadFile(bootID)
	return strings.TrimSpace(string(text)), err
}

func setSwitch(value string) error {
	f, err := os.OpenFile(forwardSwitch, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
