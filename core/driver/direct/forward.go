package direct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	forwardSwitch = "/proc/sys/net/ipv4/ip_forward"
	bootID        = "/proc/sys/kernel/random/boot_id"
)

// forwarding is the record that this driver turned forwarding on. It exists
// only then: where forwarding was on already it is left on.
type forwarding struct {
	Was  string `json:"was"`
	Boot string `json:"boot"` // a record of an earlier boot says nothing
}

func (d *Driver) forwardRecord() string { return filepath.Join(d.config.RuntimeDir, "forwarding.json") }

// startForwarding lets this host pass packets between links.
func (d *Driver) startForwarding(ctx context.Context) error {
	return d.withForwardLock(ctx, func() error {
		was, err := os.ReadFile(forwardSwitch)
		if err != nil {
			return err
		}
		if was = bytes.TrimSpace(was); string(was) != "0" {
			return nil
		}
		boot, err := currentBoot()
		if err != nil {
			return err
		}
		// The record first: after a crash in between, restoring what was
		// not changed does no harm.
		if err := writeJSON(d.forwardRecord(), forwarding{Was: string(was), Boot: boot}); err != nil {
			return err
		}
		if err := setSwitch("1"); err != nil {
			return errors.Join(err, os.Remove(d.forwardRecord()))
		}
		return nil
	})
}

// stopForwarding restores the switch when this driver changed it and no other
// of its machines runs. Somebody else who came to rely on it meanwhile cannot
// be known; it is put back only if it still is as we left it.
func (d *Driver) stopForwarding(ctx context.Context, name string) error {
	if _, err := os.Stat(d.forwardRecord()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return d.withForwardLock(ctx, func() error {
		others, err := d.othersRun(name)
		if err != nil || others {
			return err
		}
		var record forwarding
		if err := readJSON(d.forwardRecord(), &record); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		boot, err := currentBoot()
		if err != nil {
			return err
		}
		now, err := os.ReadFile(forwardSwitch)
		if err != nil {
			return err
		}
		if record.Boot == boot && string(bytes.TrimSpace(now)) == "1" {
			if err := setSwitch(record.Was); err != nil {
				return err
			}
		}
		return os.Remove(d.forwardRecord())
	})
}

func (d *Driver) othersRun(name string) (bool, error) {
	entries, err := os.ReadDir(d.machines())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, e := range entries {
		if e.Name() == name {
			continue
		}
		running, err := held(files{filepath.Join(d.machines(), e.Name())}.lock())
		if err != nil || running {
			return running, err
		}
	}
	return false, nil
}

func (d *Driver) withForwardLock(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path := filepath.Join(d.config.RuntimeDir, "forwarding.lock")
	lock, err := acquire(ctx, path)
	if err == nil {
		// Removed while it is held, so that nothing stays of the last machine.
		err = errors.Join(f(), os.Remove(path), lock.Close())
	}
	if err != nil {
		return fmt.Errorf("forwarding between links (net.ipv4.ip_forward): %w", err)
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
