package stages

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dirsControl are where the service manager keeps what `systemctl set-property`
// set, for good and until the host boots.
var dirsControl = []string{"/etc/systemd/system.control", "/run/systemd/system.control"}

// removeControl removes what `systemctl set-property` left of a machine's unit.
// RevertUnitFiles of the service manager would remove the drop-ins that the
// user wrote too.
func (l *Limits) removeControl(name string) error {
	for _, dir := range dirsControl {
		dir = filepath.Join(dir, unitDropIns(name))
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := unlessForeign(l.Files.Remove(filepath.Join(dir, e.Name()), setProperty)); err != nil {
				return err
			}
		}
		// The directory is the service manager's, made for these files.
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

// setProperty tells from its first line that the service manager wrote a file
// for `systemctl set-property` or the call behind it.
func setProperty(content []byte) bool {
	return bytes.HasPrefix(content, []byte(`# This is a drop-in unit file extension, created via "systemctl set-property"`))
}
