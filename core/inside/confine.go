package inside

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// A command comes from outside: it does not inherit what systemd-nspawn put on
// the machine's first process, and the kernel gives nobody that process's filter
// to put on. So a command in a machine whose first process must not gain
// privileges is forbidden it too, and the system calls that systemd-nspawn lets
// no machine make without a capability that this one lacks. A machine that is
// not hardened like that is left alone: who runs commands in it may.

// confine bounds the calling thread, and what it starts, to what the machine's
// first process is bounded to. It cannot be taken back.
func confine(machine *leader.Process) error {
	hardened, err := machine.NoNewPrivileges()
	if err != nil || !hardened {
		return err
	}
	bound, err := machine.CapabilityBound()
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	program := filter(bound)
	if program == nil {
		return nil
	}
	run := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	//nolint:gosec // the kernel copies the program before the call returns
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&run)), 0, 0)
	runtime.KeepAlive(program)
	if err != nil {
		return fmt.Errorf("refusing system calls: %w", err)
	}
	return nil
}

// call is a system call that is refused to who lacks the capability; where that
// is never, to everybody.
type call struct {
	number     uint32
	capability int
}

const never = -1

// calls are those that systemd-nspawn does not let through by default, and those
// that the sandbox refuses: to who lacks CAP_SYS_PTRACE, as it does.
var calls = []call{
	{unix.SYS_ADD_KEY, never},
	{unix.SYS_KEYCTL, never},
	{unix.SYS_REQUEST_KEY, never},
	{unix.SYS_BPF, never},
	{unix.SYS_PERF_EVENT_OPEN, never},
	{unix.SYS_KEXEC_LOAD, never},
	{unix.SYS_OPEN_BY_HANDLE_AT, never},
	{unix.SYS_FANOTIFY_INIT, never},
	{unix.SYS_FANOTIFY_MARK, never},
	{unix.SYS_QUOTACTL, never},
	{unix.SYS_SWAPON, never},
	{unix.SYS_SWAPOFF, never},
	{unix.SYS_INIT_MODULE, unix.CAP_SYS_MODULE},
	{unix.SYS_FINIT_MODULE, unix.CAP_SYS_MODULE},
	{unix.SYS_DELETE_MODULE, unix.CAP_SYS_MODULE},
	{unix.SYS_ACCT, unix.CAP_SYS_PACCT},
	{unix.SYS_SYSLOG, unix.CAP_SYSLOG},
	{unix.SYS_SETTIMEOFDAY, unix.CAP_SYS_TIME},
	{unix.SYS_CLOCK_SETTIME, unix.CAP_SYS_TIME},
	{unix.SYS_CLOCK_ADJTIME, unix.CAP_SYS_TIME},
	{unix.SYS_ADJTIMEX, unix.CAP_SYS_TIME},
	{unix.SYS_PTRACE, unix.CAP_SYS_PTRACE},
	{unix.SYS_PROCESS_VM_READV, unix.CAP_SYS_PTRACE},
	{unix.SYS_PROCESS_VM_WRITEV, unix.CAP_SYS_PTRACE},
	{unix.SYS_KCMP, unix.CAP_SYS_PTRACE},
	{unix.SYS_USERFAULTFD, unix.CAP_SYS_PTRACE},
	{unix.SYS_VMSPLICE, unix.CAP_SYS_PTRACE},
	{unix.SYS_IO_URING_SETUP, unix.CAP_SYS_PTRACE},
	{unix.SYS_IO_URING_ENTER, unix.CAP_SYS_PTRACE},
	{unix.SYS_IO_URING_REGISTER, unix.CAP_SYS_PTRACE},
}

// architectures are those whose numbers the table above was compiled for.
var architectures = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64,
	"riscv64": unix.AUDIT_ARCH_RISCV64, "ppc64le": unix.AUDIT_ARCH_PPC64LE,
}

// What a filter is given to look at; see seccomp(2).
const (
	atNumber = 0
	atArch   = 4
	atArg    = 16 // the lower half of the first argument, on machines that store that first
	argSize  = 8
	// otherNumbers marks the numbers of x32, which are other system calls.
	otherNumbers = 0x40000000
	typeMask     = 0xf // of the second argument of socket(2)
)

// filter is the program that refuses, with EPERM, to make the calls that take a
// capability outside of bound, to open sockets of the audit subsystem, and raw
// ones without CAP_NET_RAW, and any call of another architecture, whose numbers
// are others. It is nil where the numbers of this one are not known.
func filter(bound uint64) []unix.SockFilter {
	arch, known := architectures[runtime.GOARCH]
	if !known {
		return nil
	}
	const refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// unless jumps over so many instructions when what was loaded is not k.
	unless := func(k uint32, over uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: over, K: k}
	}
	end := func(with uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with} }

	p := []unix.SockFilter{
		load(atArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: arch},
		end(refuse),
		load(atNumber),
	}
	if runtime.GOARCH == "amd64" {
		p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: otherNumbers}, end(refuse))
	}
	for _, c := range calls {
		if c.capability == never || bound&(1<<c.capability) == 0 {
			p = append(p, unless(c.number, 1), end(refuse))
		}
	}
	sockets := []unix.SockFilter{
		load(atArg),
		unless(unix.AF_NETLINK, 3),
		load(atArg + 2*argSize),
		unless(unix.NETLINK_AUDIT, 1),
		end(refuse),
	}
	if bound&(1<<unix.CAP_NET_RAW) == 0 {
		sockets = append(sockets,
			load(atArg),
			unless(unix.AF_PACKET, 1),
			end(refuse),
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.AF_INET},
			unless(unix.AF_INET6, 4),
			load(atArg+argSize),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: typeMask},
			unless(unix.SOCK_RAW, 1),
			end(refuse),
		)
	}
	p = append(p, unless(unix.SYS_SOCKET, uint8(len(sockets))))
	return append(append(p, sockets...), end(unix.SECCOMP_RET_ALLOW))
}
