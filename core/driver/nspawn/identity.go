package nspawn

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// identity is where a host keeps its machine id. Container images come with an
// empty one, and without an id systemd-nspawn makes no veth pair: it derives
// their hardware addresses from it.
const identity = "/etc/machine-id"

var identityPattern = regexp.MustCompile("^[0-9a-f]{32}$")

// lacksIdentity tells whether the host's machine id must be stood in for.
func lacksIdentity(path string) (bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("this host has no %s, which systemd-nspawn needs: make one with systemd-machine-id-setup", path)
	}
	if err != nil {
		return false, err
	}
	return !identityPattern.MatchString(strings.TrimSpace(string(text))), nil
}

// standIn gives what the calling thread starts a machine id, in a mount
// namespace of its own: the host's file stays as it is. The thread must not be
// used for anything else afterwards. The id is the machine's, so that hardware
// addresses stay the same from boot to boot.
func standIn(file, name string) error {
	sum := sha256.Sum256([]byte("nspawn-build " + name))
	if err := os.WriteFile(file, []byte(hex.EncodeToString(sum[:16])+"\n"), 0o444); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keeping mounts from spreading: %w", err)
	}
	if err := unix.Mount(file, identity, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("standing in for %s: %w", identity, err)
	}
	return nil
}
