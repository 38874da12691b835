package spec

import (
	_ "embed"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// systemd-nspawn passes over a capability or a system call that it does not
// know, with a line in a log or none at all, so that a slip would leave a
// machine less confined than its spec says. What is in none of these tables is
// refused.

// capabilities are the kernel's, each at its number; see capabilities(7).
var capabilities = []string{
	unix.CAP_CHOWN:              "CAP_CHOWN",
	unix.CAP_DAC_OVERRIDE:       "CAP_DAC_OVERRIDE",
	unix.CAP_DAC_READ_SEARCH:    "CAP_DAC_READ_SEARCH",
	unix.CAP_FOWNER:             "CAP_FOWNER",
	unix.CAP_FSETID:             "CAP_FSETID",
	unix.CAP_KILL:               "CAP_KILL",
	unix.CAP_SETGID:             "CAP_SETGID",
	unix.CAP_SETUID:             "CAP_SETUID",
	unix.CAP_SETPCAP:            "CAP_SETPCAP",
	unix.CAP_LINUX_IMMUTABLE:    "CAP_LINUX_IMMUTABLE",
	unix.CAP_NET_BIND_SERVICE:   "CAP_NET_BIND_SERVICE",
	unix.CAP_NET_BROADCAST:      "CAP_NET_BROADCAST",
	unix.CAP_NET_ADMIN:          "CAP_NET_ADMIN",
	unix.CAP_NET_RAW:            "CAP_NET_RAW",
	unix.CAP_IPC_LOCK:           "CAP_IPC_LOCK",
	unix.CAP_IPC_OWNER:          "CAP_IPC_OWNER",
	unix.CAP_SYS_MODULE:         "CAP_SYS_MODULE",
	unix.CAP_SYS_RAWIO:          "CAP_SYS_RAWIO",
	unix.CAP_SYS_CHROOT:         "CAP_SYS_CHROOT",
	unix.CAP_SYS_PTRACE:         "CAP_SYS_PTRACE",
	unix.CAP_SYS_PACCT:          "CAP_SYS_PACCT",
	unix.CAP_SYS_ADMIN:          "CAP_SYS_ADMIN",
	unix.CAP_SYS_BOOT:           "CAP_SYS_BOOT",
	unix.CAP_SYS_NICE:           "CAP_SYS_NICE",
	unix.CAP_SYS_RESOURCE:       "CAP_SYS_RESOURCE",
	unix.CAP_SYS_TIME:           "CAP_SYS_TIME",
	unix.CAP_SYS_TTY_CONFIG:     "CAP_SYS_TTY_CONFIG",
	unix.CAP_MKNOD:              "CAP_MKNOD",
	unix.CAP_LEASE:              "CAP_LEASE",
	unix.CAP_AUDIT_WRITE:        "CAP_AUDIT_WRITE",
	unix.CAP_AUDIT_CONTROL:      "CAP_AUDIT_CONTROL",
	unix.CAP_SETFCAP:            "CAP_SETFCAP",
	unix.CAP_MAC_OVERRIDE:       "CAP_MAC_OVERRIDE",
	unix.CAP_MAC_ADMIN:          "CAP_MAC_ADMIN",
	unix.CAP_SYSLOG:             "CAP_SYSLOG",
	unix.CAP_WAKE_ALARM:         "CAP_WAKE_ALARM",
	unix.CAP_BLOCK_SUSPEND:      "CAP_BLOCK_SUSPEND",
	unix.CAP_AUDIT_READ:         "CAP_AUDIT_READ",
	unix.CAP_PERFMON:            "CAP_PERFMON",
	unix.CAP_BPF:                "CAP_BPF",
	unix.CAP_CHECKPOINT_RESTORE: "CAP_CHECKPOINT_RESTORE",
}

// Capabilities are the names of the kernel's.
func Capabilities() []string { return slices.Clone(capabilities) }

// systemCalls are those of the kernel on any architecture, one a line: the other
// architectures' are let through or refused for the programs of theirs that a
// machine may run.
//
//go:embed systemcalls.txt
var systemCalls string

// systemCallGroups are systemd's; systemd.exec(5) says what is in each.
var systemCallGroups = []string{
	"@aio", "@basic-io", "@chown", "@clock", "@cpu-emulation", "@debug", "@default", "@file-system", "@io-event",
	"@ipc", "@keyring", "@known", "@memlock", "@module", "@mount", "@network-io", "@obsolete", "@pkey", "@privileged",
	"@process", "@raw-io", "@reboot", "@resources", "@sandbox", "@setuid", "@signal", "@swap", "@sync",
	"@system-service", "@timer",
}

// checkSystemCall checks one entry of a filter.
func checkSystemCall(field, s string) *FieldError {
	const groups, calls = "systemd-analyze syscall-filter lists the groups", "use a name such as ~ptrace or @system-service; man 2 syscalls lists the calls"
	name := strings.TrimPrefix(s, "~")
	if strings.HasPrefix(name, "@") {
		if slices.Contains(systemCallGroups, name) {
			return nil
		}
		return &FieldError{field, s, "is not a group of system calls", likely(name, systemCallGroups, groups)}
	}
	known := strings.Fields(systemCalls)
	if slices.Contains(known, name) {
		return nil
	}
	return &FieldError{field, s, "is not a system call that is known, nor a group of them", likely(name, known, calls)}
}

// NotHeld compares what was asked for with the capabilities that a machine's
// processes can have, one bit each: kept are those that were to be taken from
// it, and missing those that it was to have.
func (s Security) NotHeld(bound uint64) (kept, missing []string) {
	for number, name := range capabilities {
		has := bound&(1<<number) != 0
		if has && slices.Contains(s.DropCapabilities, name) {
			kept = append(kept, name)
		}
		if !has && slices.Contains(s.Capabilities, name) {
			missing = append(missing, name)
		}
	}
	return kept, missing
}
