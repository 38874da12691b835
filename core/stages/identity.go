package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// resetIdentity takes out of a tree what must differ between machines, or
// would betray the host that made it.
func resetIdentity(tree *rootfs.Tree) error {
	// The word makes the next boot a first one, so that services which make
	// something once do it; see machine-id(5).
	if err := tree.WriteFile("etc/machine-id", []byte("uninitialized\n"), 0o444); err != nil {
		return err
	}
	gone := []string{
		"var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
		"etc/hostname", "root/.ssh/authorized_keys",
	}
	keys, err := tree.Glob("etc/ssh", "ssh_host_*")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, k := range keys {
		gone = append(gone, "etc/ssh/"+filepath.Base(k))
	}
	slices.Sort(gone)
	for _, name := range gone {
		if err := tree.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", name, err)
		}
	}
	return nil
}
