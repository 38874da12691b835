package inside

import (
	"encoding/binary"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// verdict runs a program as the kernel would, on one system call.
func verdict(t *testing.T, program []unix.SockFilter, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.LittleEndian.PutUint32(data[0:], number)
	binary.LittleEndian.PutUint32(data[4:], arch)
	for i, a := range args {
		binary.LittleEndian.PutUint64(data[16+8*i:], a)
	}
	var acc uint32
	for at := 0; at < len(program); at++ {
		jump := func(yes bool, i unix.SockFilter) {
			if yes {
				at += int(i.Jt)
			} else {
				at += int(i.Jf)
			}
		}
		switch i := program[at]; i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[i.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(acc == i.K, i)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(acc >= i.K, i)
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			t.Fatalf("instruction %d is %+v", at, i)
		}
	}
	t.Fatal("the program ends without a verdict")
	return 0
}

func TestOnlyWhatTheMachineMayNotDoIsRefused(t *testing.T) {
	arch, known := architectures[runtime.GOARCH]
	if !known {
		t.Skip("no filter is made on " + runtime.GOARCH)
	}
	const all = ^uint64(0)
	without := func(caps ...int) uint64 {
		bound := all
		for _, c := range caps {
			bound &^= 1 << c
		}
		return bound
	}
	for _, c := range []struct {
		name    string
		bound   uint64
		arch    uint32
		number  uint32
		args    []uint64
		refused bool
	}{
		{"reading", without(unix.CAP_SYS_PTRACE), arch, unix.SYS_READ, nil, false},
		{"executing", without(unix.CAP_SYS_PTRACE, unix.CAP_NET_RAW), arch, unix.SYS_EXECVE, nil, false},
		{"entering namespaces", 0, arch, unix.SYS_SETNS, nil, false},
		{"bpf", all, arch, unix.SYS_BPF, nil, true},
		{"tracing", all, arch, unix.SYS_PTRACE, nil, false},
		{"tracing without the capability", without(unix.CAP_SYS_PTRACE), arch, unix.SYS_PTRACE, nil, true},
		{"io_uring in a sandbox", without(unix.CAP_SYS_PTRACE), arch, unix.SYS_IO_URING_SETUP, nil, true},
		{"another architecture", all, arch + 1, unix.SYS_READ, nil, true},
		{"a TCP socket", without(unix.CAP_NET_RAW), arch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, false},
		{"a unix socket", without(unix.CAP_NET_RAW), arch, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, false},
		{"a raw socket", without(unix.CAP_NET_RAW), arch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW | unix.SOCK_CLOEXEC, 1}, true},
		{"a raw socket of IPv6", without(unix.CAP_NET_RAW), arch, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_RAW | unix.SOCK_NONBLOCK, 58}, true},
		{"a packet socket", without(unix.CAP_NET_RAW), arch, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_DGRAM, 0}, true},
		{"a raw socket where it may", all, arch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, 1}, false},
		{"netlink, which is raw too", without(unix.CAP_NET_RAW), arch, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, false},
		{"audit", all, arch, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, true},
		{"the half of a number that counts", without(unix.CAP_NET_RAW), arch, unix.SYS_SOCKET, []uint64{1<<32 | unix.AF_INET, unix.SOCK_RAW, 1}, true},
	} {
		got := verdict(t, filter(c.bound), c.arch, c.number, c.args...)
		want := uint32(unix.SECCOMP_RET_ALLOW)
		if c.refused {
			want = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
		}
		if got != want {
			t.Errorf("%s: %#x, want %#x", c.name, got, want)
		}
	}
	if runtime.GOARCH == "amd64" {
		if got := verdict(t, filter(all), arch, otherNumbers|unix.SYS_READ); got == unix.SECCOMP_RET_ALLOW {
			t.Error("a call by another number is let through")
		}
	}
}
