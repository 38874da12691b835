package stages

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/store"
)

const (
	pathMachineID = "etc/machine-id"
	// firstBoot in place of an id makes the next boot a first one, so that
	// services which make something once do it; see machine-id(5).
	firstBoot = "uninitialized\n"
)

// identity are the files that no two machines may share. The last part of a
// name may be a pattern.
var identity = []string{
	"etc/hostname", "etc/ssh/ssh_host_*",
	"var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
}

// history are the files of a machine that has run which say who it was: what
// it was told by networks, and the randomness that it saved for its next boot.
var history = []string{
	"var/lib/NetworkManager/*.lease", "var/lib/NetworkManager/secret_key", "var/lib/NetworkManager/seen-bssids",
	"var/lib/urandom/random-seed", "var/lib/misc/random-seed",
}

// signing are the private keys by which a machine's package manager says whose
// packages it trusts. What they have signed goes on to be trusted without them.
var signing = []string{
	"etc/pacman.d/gnupg/private-keys-v1.d/*", "etc/pacman.d/gnupg/openpgp-revocs.d/*",
	"etc/pacman.d/gnupg/secring.gpg", "etc/pacman.d/gnupg/S.*",
}

// memories are the directories of a machine that has run whose content is about
// what happened to it alone: journals, which go by the machine's id, dumps of
// its processes and leases.
var memories = []string{
	"var/log/journal", "var/lib/systemd/coredump", "var/lib/systemd/network",
	"var/lib/dhcp", "var/lib/dhclient", "var/lib/dhcpcd",
}

// resetIdentity takes out of a tree what must differ between machines, or
// would betray the host that made it.
func resetIdentity(tree *rootfs.Tree) error {
	if err := tree.WriteFile(pathMachineID, []byte(firstBoot), 0o444); err != nil {
		return err
	}
	// A tree may be kept, and more than one machine be made of it.
	return removeFiles(tree, slices.Concat([]string{pathKeys}, identity, signing))
}

// removeFiles removes files by name or pattern; what is not there is no error.
func removeFiles(tree *rootfs.Tree, patterns []string) error {
	var gone []string
	for _, p := range patterns {
		dir, base := path.Split(p)
		if !strings.ContainsAny(base, "*?[") {
			gone = append(gone, p)
			continue
		}
		names, err := tree.Glob(dir, base)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, name := range names {
			gone = append(gone, dir+name)
		}
	}
	slices.Sort(gone)
	for _, name := range gone {
		if err := tree.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", name, err)
		}
	}
	return nil
}

// changeIdentity makes of the copy of a machine's tree one of a machine of its
// own. What stages write anew in any case is left to them.
func changeIdentity(ctx context.Context, tree *rootfs.Tree, origin, clone store.Machine) error {
	if err := changeMachineID(tree); err != nil {
		return err
	}
	if err := removeFiles(tree, slices.Concat(identity, history, signing)); err != nil {
		return err
	}
	for _, dir := range memories {
		if err := tree.Clear(ctx, dir); err != nil {
			return err
		}
	}
	if err := changeHosts(tree, origin.Name, clone.Name); err != nil {
		return err
	}
	return shutOut(tree)
}

var machineIDForm = regexp.MustCompile(`^[0-9a-f]{32}\n?$`)

// changeMachineID gives a machine that has an id another one. To have it boot
// for the first time once more would also have systemd enable every unit again
// that its user had disabled. One that never booted keeps that before it.
func changeMachineID(tree *rootfs.Tree) error {
	id := firstBoot
	data, err := tree.ReadFile(pathMachineID, fileLimit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if machineIDForm.Match(data) {
		id = newMachineID()
	}
	return tree.WriteFile(pathMachineID, []byte(id), 0o444)
}

// newMachineID is a random one, of the form of a version 4 UUID as systemd
// makes them.
func newMachineID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return hex.EncodeToString(id[:]) + "\n"
}

// changeHosts has the hosts file call the machine by its own name. What else
// its user wrote there stays.
func changeHosts(tree *rootfs.Tree, before, after string) error {
	data, err := tree.ReadFile(pathHosts, fileLimit)
	content := hostsFile(after)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case string(data) != string(hostsFile(before)):
		content = renamed(data, before, after)
	}
	return tree.WriteFile(pathHosts, content, 0o644)
}

var hostsWord = regexp.MustCompile(`[^\s#]+|#.*`)

// renamed replaces a host name, and the short form of it, in a hosts file.
func renamed(hosts []byte, before, after string) []byte {
	short, _, _ := strings.Cut(before, ".")
	newShort, _, _ := strings.Cut(after, ".")
	return hostsWord.ReplaceAllFunc(hosts, func(word []byte) []byte {
		switch string(word) {
		case before:
			return []byte(after)
		case short:
			return []byte(newShort)
		}
		return word
	})
}
