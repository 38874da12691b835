// Package unitfile renders the configuration files that make a machine: those
// that systemd reads on the host and in the machine, and those of ssh and sshd.
// It also reads the [Install] section of a unit, to say which links enabling
// it would make.
//
// It is pure: it returns bytes and never touches a file. It never renders a
// value that could end its line, so that nothing a user, a plugin or a tree
// supplies becomes a directive of its own; such a value is an error.
//
// None of the values rendered here is subject to systemd's % specifiers:
// systemd-nspawn expands none in .nspawn files, and elsewhere only numbers,
// addresses and checked names are written.
package unitfile
