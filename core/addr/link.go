package addr

import "github.com/dchest/siphash"

// Scheme is how systemd-nspawn shortens the name of a link that the kernel
// would refuse.
type Scheme int

// The schemes.
const (
	Hashed    Scheme = iota // since systemd 245
	Truncated               // before
)

// SchemeOf is the scheme of a systemd version. The kernel command line
// (net.naming-scheme=) can overrule it, so compare with the live link.
func SchemeOf(systemd int) Scheme {
	const hashedSince = 245
	if systemd > 0 && systemd < hashedSince {
		return Truncated
	}
	return Hashed
}

const (
	prefix   = "ve-"
	longest  = 15 // the kernel's IFNAMSIZ without its NUL
	hashTail = 4
)

// hashKey is fixed by systemd (src/nspawn/nspawn-network.c); the name of a
// link is thereby the same on every host.
var hashKey = [16]byte{
	0xe1, 0x90, 0xa4, 0x04, 0xa8, 0xef, 0x4b, 0x51,
	0x8c, 0xcc, 0xc3, 0x3a, 0x9f, 0x11, 0xfc, 0xa2,
}

// LinkName is the name that systemd-nspawn gives the host's end of a machine's
// veth pair: ve-MACHINE, shortened by scheme where that is longer than 15
// bytes.
func LinkName(machine string, scheme Scheme) string {
	full := prefix + machine
	switch {
	case len(full) <= longest:
		return full
	case scheme == Truncated:
		return full[:longest]
	default:
		return full[:longest-hashTail] + tail(full)
	}
}

// Pin is the value of systemd's variable NET_NAMING_SCHEME by which it gives a
// machine's link that name and no other, whatever the host's kernel command line
// says. It is empty where every scheme gives the same name.
func Pin(machine, link string) string {
	switch {
	case len(prefix+machine) <= longest:
		return ""
	case link == LinkName(machine, Truncated):
		return "v238"
	}
	return "v245"
}

// tail is the last 24 bits of the hash of name, six to a character.
func tail(name string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	h := siphash.New(hashKey[:])
	_, _ = h.Write([]byte(name)) // a hash.Hash never fails
	sum := h.Sum64()
	var c [hashTail]byte
	for i := range c {
		c[i] = alphabet[sum>>(6*(hashTail-1-i))&63]
	}
	return string(c[:])
}

// Collides returns the first of others whose link would have the same name as
// machine's, so that the two could not run at the same time. A machine does
// not collide with itself.
func Collides(machine string, others []string, scheme Scheme) (other string, collides bool) {
	link := LinkName(machine, scheme)
	for _, o := range others {
		if o != machine && LinkName(o, scheme) == link {
			return o, true
		}
	}
	return "", false
}
