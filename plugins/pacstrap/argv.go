package main

import "path/filepath"

// Everything in this file is pure: a job in, command lines out.

// place sets the directories that commands name; Plan uses placeholders.
func (j *job) place(target, work string) {
	if j.target == "" {
		j.target = target
	}
	if j.work == "" {
		j.work = work
	}
	if j.scratch == "" {
		j.scratch = "SCRATCH"
	}
}

// hooksPath is an empty directory in place of the host's /etc/pacman.d/hooks.
// pacman 7.1 insists on one that is there.
func (j *job) hooksPath() string { return filepath.Join(j.work, "hooks") }

func (j *job) configPath() string { return filepath.Join(j.work, "pacman.conf") }

// gpgDir is the keyring that packages are verified with. gpg-agent's sockets in
// it may have paths of no more than 107 bytes (unix(7)).
func (j *job) gpgDir() string { return filepath.Join(j.scratch, "gnupg") }

// machineGpgDir is where the machine's own keyring is made, for the same reason.
func (j *job) machineGpgDir() string { return filepath.Join(j.scratch, "machine") }

// ownKeysPath is the user's keyring in the form that gpg reads.
func (j *job) ownKeysPath() string { return filepath.Join(j.work, "keyring.gpg") }

func (j *job) pacmanKey(gpgDir string, arguments ...string) []string {
	return append([]string{"pacman-key", "--config", j.configPath(), "--gpgdir", gpgDir}, arguments...)
}

// trust makes a keyring that verifies packages. fingerprints are of the user's
// keys that can be trusted; the distribution's keyring says that itself. It is
// named, since pacman-key on Debian would otherwise take every keyring there is.
func (j *job) trust(gpgDir string, fingerprints []string) [][]string {
	if !j.keyring.own {
		return [][]string{j.pacmanKey(gpgDir, "--init"), j.pacmanKey(gpgDir, "--populate", j.keyring.name)}
	}
	return [][]string{
		j.pacmanKey(gpgDir, "--init"),
		j.pacmanKey(gpgDir, "--add", j.ownKeysPath()),
		j.pacmanKey(gpgDir, append([]string{"--lsign-key"}, fingerprints...)...),
	}
}

// listOwnKeys prints the user's keys in the format of gpg's doc/DETAILS.
func (j *job) listOwnKeys() []string {
	return []string{"gpg", "--homedir", j.scratch, "--batch", "--no-options", "--with-colons", "--show-keys", j.ownKeysPath()}
}

// listTrust prints the keys of a keyring with what they are worth.
func listTrust(gpgDir string) []string {
	return []string{"gpg", "--homedir", gpgDir, "--batch", "--no-permission-warning", "--with-colons", "--list-keys"}
}

// initMachine makes the machine's own keyring, with a key that no other machine
// has. Its packages add the distribution's keys, the user's are added here.
func (j *job) initMachine(fingerprints []string) [][]string {
	if j.keyring.own {
		return j.trust(j.machineGpgDir(), fingerprints)
	}
	return [][]string{j.pacmanKey(j.machineGpgDir(), "--init")}
}

// pacstrap installs everything. -K and -M keep the host's keyring and mirrors
// out, -c uses the cache that the configuration names and not one in the tree.
func (j *job) pacstrap() []string {
	return append([]string{"pacstrap", "-K", "-M", "-c", "-C", j.configPath(), j.target}, j.packages...)
}

// pacman asks about the tree, or the repositories, after the installation.
func (j *job) pacman(arguments ...string) []string {
	return append([]string{"pacman", "-r", j.target, "--config", j.configPath()}, arguments...)
}

// query fails unless every one of the packages is installed.
func (j *job) query(names []string) []string {
	return j.pacman(append([]string{"-Q", "--"}, names...)...)
}

// checkDatabase fails unless what every installed package needs is installed.
func (j *job) checkDatabase() []string { return j.pacman("-D", "--check") }

// members prints "GROUP PACKAGE" lines.
func (j *job) members(group string) []string { return j.pacman("-S", "--groups", "--", group) }

// populateInside lets the machine's pacman trust the keys of its distribution.
func (j *job) populateInside() []string {
	return []string{"arch-chroot", j.target, "pacman-key", "--populate", keyringNames[j.machine]}
}

// commands is all that Bootstrap runs, in order, but for what it runs them in:
// see enclosed.
func (j *job) commands() [][]string {
	all := [][]string{}
	fingerprints := []string{"FINGERPRINT"}
	if j.keyring.own {
		all = append(all, j.listOwnKeys())
	}
	all = append(all, j.trust(j.gpgDir(), fingerprints)...)
	all = append(all, j.initMachine(fingerprints)...)
	return append(all, j.pacstrap(), j.query(j.packages), j.checkDatabase())
}
