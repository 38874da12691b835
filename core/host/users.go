package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// UserNamespaces says why this host's kernel makes no user namespace; nil when
// it does.
func UserNamespaces() error {
	ns, err := UserNamespace(0, 1)
	if err != nil {
		return err
	}
	return ns.Close()
}

// ErrNoIDMap says that a file system cannot be mounted with mapped owners.
var ErrNoIDMap = errors.New("its file system cannot be mounted with mapped owners")

// IDMapped tries whether what is at path can be mounted with mapped owners, as
// systemd-nspawn does with a tree. Where path does not exist, what counts is the
// directory that it would be made in.
func IDMapped(path string) error {
	for {
		_, err := os.Stat(path)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) || path == "/" {
			return err
		}
		path = filepath.Dir(path)
	}
	if err := MapsOwners(path); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrNoIDMap, err)
	}
	return nil
}
