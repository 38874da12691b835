package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
)

// Where pacman-key looks for keyrings that it can be told to trust.
const (
	keyringsInTree = "usr/share/pacman/keyrings"
	ownKeyring     = keyringsInTree + "/nspawn-build.gpg"
	ownTrusted     = keyringsInTree + "/nspawn-build-trusted"
)

// A tree that is to be like the next one holds no keyring of pacman's: that has
// a random key in it, which signs the others. The machine makes it when it
// boots for the first time.
const (
	keyringName = "nspawn-build-pacman-keyring.service"
	keyringPath = "etc/systemd/system/" + keyringName
	keyringLink = "etc/systemd/system/multi-user.target.wants/" + keyringName
	keyringUnit = `# Made by nspawn-build.
[Unit]
Description=Make the keyring with which pacman verifies packages
ConditionPathExists=!/etc/pacman.d/gnupg/pubring.gpg
Before=` + renewName + `

[Service]
Type=oneshot
ExecStart=/usr/bin/pacman-key --init
ExecStart=/usr/bin/pacman-key --populate
`
)

// makeAlike takes out of the tree what no two of them have in common.
func (r *run) makeAlike() error {
	if err := r.keyringLater(); err != nil {
		return err
	}
	directories, err := fs.ReadDir(r.tree.FS(), databaseDirectory+"/local")
	if err != nil {
		return fmt.Errorf("pacman's database: %w", err)
	}
	for _, d := range directories {
		if !d.IsDir() { // ALPM_DB_VERSION
			continue
		}
		if err := r.installedAt(path.Join(databaseDirectory, "local", d.Name(), "desc")); err != nil {
			return fmt.Errorf("pacman's database: %w", err)
		}
	}
	return nil
}

// installDate is where pacman notes when it installed a package.
var installDate = regexp.MustCompile(`(?m)^(%INSTALLDATE%\n)[0-9]+$`)

func (r *run) installedAt(desc string) error {
	content, err := r.tree.readFile(desc, maxDesc)
	if err != nil {
		return err
	}
	return r.tree.Write(desc, installDate.ReplaceAll(content, []byte("${1}"+strconv.FormatInt(r.epoch, 10))))
}

// keyringLater has the machine make its keyring by itself, of the keys of its
// distribution and of the user.
func (r *run) keyringLater() error {
	if err := r.tree.Clear(machineKeyring); err != nil {
		return err
	}
	if err := r.tree.Chmod(machineKeyring, 0o755); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if r.keyring.own {
		keys, err := os.ReadFile(r.ownKeysPath())
		if err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
		trusted := ""
		for _, fingerprint := range r.fingerprints {
			trusted += fingerprint + ":4:\n"
		}
		if err := errors.Join(
			r.tree.Mkdir(keyringsInTree), r.tree.Write(ownKeyring, keys), r.tree.Write(ownTrusted, []byte(trusted)),
		); err != nil {
			return err
		}
	}
	if err := r.tree.Write(keyringPath, []byte(keyringUnit)); err != nil {
		return err
	}
	if err := r.tree.Symlink("/"+keyringPath, keyringLink); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}
