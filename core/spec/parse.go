package spec

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// quote shows a value on one line whatever is in it, shortened where it is long.
func quote(s string) string {
	const most = 80
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)

// ParseName checks a machine's name: 1 to 64 letters, digits, "-" and ".",
// neither first nor last of these two, and no "..". It is what systemd takes
// as both a machine name and a host name.
func ParseName(s string) (string, *FieldError) {
	const hint = `use 1 to 64 letters, digits, "-" or ".", beginning and ending with a letter or digit, such as my-box`
	switch {
	case s == "":
		return "", &FieldError{"name", s, "no machine name was given", "put the name last: nspawn-build --distro debian mycontainer"}
	case len(s) > 64:
		return "", &FieldError{"name", s, fmt.Sprintf("has %d characters, at most 64 are possible", len(s)), hint}
	case strings.Contains(s, ".."), !nameForm.MatchString(s):
		return "", &FieldError{"name", s, "is not a machine name", hint}
	}
	return s, nil
}

// ParseSize reads bytes of memory as systemd does: a number with an optional
// suffix K, M, G or T to the base 1024, or "infinity".
func ParseSize(field, s string) (uint64, *FieldError) {
	v, ok := bytes(s)
	if !ok {
		return 0, &FieldError{field, s, "is not a size", "use 512M, 2G or infinity"}
	}
	const least = 16 << 20
	if v < least {
		return 0, &FieldError{field, s, "is too small for a machine to boot in", "use at least 16M; 256M is comfortable"}
	}
	return v, nil
}

// ParseBandwidth reads bytes a second, in the form of a size.
func ParseBandwidth(field, s string) (uint64, *FieldError) {
	v, ok := bytes(strings.TrimSuffix(s, "/s"))
	if !ok {
		return 0, &FieldError{field, s, "is not a number of bytes a second", "use 50M, 1G or infinity"}
	}
	const least = 64 << 10
	if v < least {
		return 0, &FieldError{field, s, "is too little for a machine to boot with", "use at least 64K; 50M is comfortable"}
	}
	return v, nil
}

func bytes(s string) (v uint64, ok bool) {
	if s == "infinity" {
		return Infinity, true
	}
	digits, shift := s, 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("KMGT", s[n-1]); i >= 0 {
			digits, shift = s[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || v == 0 || v > math.MaxUint64>>shift {
		return 0, false
	}
	return v << shift, true
}

// ParseQuota reads a share of one CPU in percent: "50%", "200%".
func ParseQuota(field, s string) (uint64, *FieldError) {
	v, err := strconv.ParseUint(strings.TrimSuffix(s, "%"), 10, 32)
	if err != nil || v == 0 || !strings.HasSuffix(s, "%") {
		return 0, &FieldError{field, s, "is not a share of a CPU", "use a percentage such as 50% (half a CPU) or 200% (two CPUs)"}
	}
	return v, nil
}

// ParseWeight reads 1 to 10000.
func ParseWeight(field, s string) (uint64, *FieldError) {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil || v < 1 || v > 10000 {
		return 0, &FieldError{field, s, "is not a weight", "use 1 to 10000; 100 is what everything else has"}
	}
	return v, nil
}

// ParseTasks reads a number of processes and threads, or "infinity".
func ParseTasks(field, s string) (uint64, *FieldError) {
	if s == "infinity" {
		return Infinity, nil
	}
	v, err := strconv.ParseUint(s, 10, 63)
	if err != nil || v == 0 {
		return 0, &FieldError{field, s, "is not a number of tasks", "use a whole number such as 500, or infinity"}
	}
	if v > 1<<22 { // PID_MAX_LIMIT of the kernel, which refuses more
		return 0, &FieldError{field, s, "is more tasks than the kernel can count", "use at most 4194304, or infinity"}
	}
	if v < 32 {
		return 0, &FieldError{field, s, "is too few tasks for a machine to boot with", "use at least 32; 500 is comfortable"}
	}
	return v, nil
}

// ParseAddress reads the machine's IPv4 address with its prefix length.
func ParseAddress(s string) (netip.Prefix, *FieldError) {
	p, err := netip.ParsePrefix(s)
	bad := func(problem string) (netip.Prefix, *FieldError) {
		return netip.Prefix{}, &FieldError{"network.address", s, problem, "use an address with its prefix length, such as 192.168.210.200/24"}
	}
	switch {
	case err != nil:
		return bad("is not an address with a prefix length")
	case !p.Addr().Is4():
		return bad("is not an IPv4 address")
	case p.Bits() < 8 || p.Bits() > 30:
		return bad("has a prefix length outside 8 to 30")
	case p.Addr().IsLoopback() || p.Addr().IsMulticast() || p.Addr().IsUnspecified() || p.Addr().IsLinkLocalUnicast():
		return bad("is not an address that a machine can have")
	case p.Addr() == p.Masked().Addr() || p.Addr() == lastOf(p):
		return bad("is the network's own or its broadcast address")
	}
	return p, nil
}

func lastOf(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(a)
}

// ParseGateway reads the host's address on the link of a machine that has
// address; where that is the zero value any IPv4 address is refused.
func ParseGateway(s string, address netip.Prefix) (netip.Addr, *FieldError) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || !a.Is4():
		return a, &FieldError{"network.gateway", s, "is not an IPv4 address", "use the host's address on the link, such as 192.168.210.1"}
	case !address.IsValid():
		return a, &FieldError{"network.gateway", s, "was given without an address", "give --address too, such as --address 192.168.210.200/24"}
	case !address.Contains(a) || a == address.Addr() || a == address.Masked().Addr() || a == lastOf(address):
		return a, &FieldError{
			"network.gateway", s, "is not a free address of " + address.Masked().String(),
			"use another address of that subnet, such as " + address.Masked().Addr().Next().String(),
		}
	}
	return a, nil
}

// ParseDNS reads "auto", "host" or addresses of servers.
func ParseDNS(values []string) (DNS, *FieldError) {
	if len(values) == 0 {
		return DNS{Mode: DNSAuto}, nil
	}
	if len(values) == 1 && (values[0] == string(DNSAuto) || values[0] == string(DNSHost)) {
		return DNS{Mode: DNSMode(values[0])}, nil
	}
	d := DNS{Mode: DNSServers}
	for _, v := range values {
		a, err := netip.ParseAddr(v)
		if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return DNS{}, &FieldError{"network.dns", v, "is not a DNS server", "use auto, host or addresses such as 9.9.9.9"}
		}
		if a.IsLoopback() {
			return DNS{}, &FieldError{
				"network.dns", v, "is the machine's own loopback address, not the host's",
				"use auto, host or the address of a server that the machine can reach",
			}
		}
		d.Servers = append(d.Servers, a)
	}
	return d, nil
}

// ParseKey reads one line of authorized_keys and returns it without surplus
// white space. Options such as from= are kept.
func ParseKey(field, line string) (string, *FieldError) {
	line = strings.TrimSpace(line)
	if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil || len(rest) > 0 || hasControl(line) {
		return "", &FieldError{field, line, "is not an SSH public key", "name a .pub file such as ~/.ssh/id_ed25519.pub"}
	}
	return line, nil
}

var hashForm = regexp.MustCompile(`^\$(y|gy|7|6|5|2[aby])\$[./A-Za-z0-9$=,+-]{8,380}$`)

// ParseHash checks that s is a crypt(3) hash that belongs in shadow(5). The
// value is a secret and is not part of the error.
func ParseHash(s string) *FieldError {
	if !hashForm.MatchString(s) {
		return &FieldError{
			"access.password-hash", redacted, "is not a crypt(3) hash",
			"make one with: mkpasswd -m yescrypt, or openssl passwd -6",
		}
	}
	return nil
}

// ParseTimeout reads a positive duration.
func ParseTimeout(d time.Duration) *FieldError {
	if d < time.Second || d > 24*time.Hour {
		return &FieldError{"timeout", d.String(), "is not between 1s and 24h", "use 2m, say"}
	}
	return nil
}

// Word checks a value that is handed to a distribution's tool: not empty, not
// the look of an option, and no white space, quote or control character.
func Word(field, s, hint string) *FieldError {
	switch {
	case s == "":
		return &FieldError{field, s, "is empty", hint}
	case strings.HasPrefix(s, "-"):
		return &FieldError{field, s, `begins with "-"`, hint}
	case hasControl(s) || strings.ContainsAny(s, " \"'`\\;|<>&"):
		return &FieldError{field, s, "holds a character that is not possible there", hint}
	}
	return nil
}

func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0
}
