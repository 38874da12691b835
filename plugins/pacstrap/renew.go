package main

import (
	"errors"
	"io/fs"
)

// A clone of a machine has its keyring without the private key with which the
// machine says whom it trusts: what that signed still counts, and nothing more
// can be signed. A clone that boots makes a key of its own for that.
const (
	renewName = "nspawn-build-pacman-key.service"
	renewPath = "etc/systemd/system/" + renewName
	renewLink = "etc/systemd/system/multi-user.target.wants/" + renewName
	renewUnit = `# Made by nspawn-build.
[Unit]
Description=Make a key with which pacman signs those that it trusts
ConditionPathExists=/etc/pacman.d/gnupg/pubring.gpg
ConditionDirectoryNotEmpty=!/etc/pacman.d/gnupg/private-keys-v1.d

[Service]
Type=oneshot
ExecStart=/usr/bin/pacman-key --init
`
)

// renewable leaves the unit in the tree. It is enabled by its link alone: no
// preset turns it off.
func (t tree) renewable() error {
	if err := t.Write(renewPath, []byte(renewUnit)); err != nil {
		return err
	}
	if err := t.Mkdir("etc/systemd/system/multi-user.target.wants"); err != nil {
		return err
	}
	if err := t.Symlink("/"+renewPath, renewLink); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
