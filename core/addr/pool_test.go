package addr

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestFirstFreeSubnetIsGiven(t *testing.T) {
	tests := []struct {
		name        string
		used, taken []netip.Prefix
		machine     string
	}{
		{name: "the first machine", machine: "192.168.200.200/24"},
		{name: "the second", used: prefixes("192.168.200.0/24"), machine: "192.168.201.200/24"},
		{name: "a gap is filled", used: prefixes("192.168.200.0/24", "192.168.202.0/24"), machine: "192.168.201.200/24"},
		{name: "used may be given as a machine's address", used: prefixes("192.168.200.200/24"), machine: "192.168.201.200/24"},
		{name: "the LAN is here", taken: prefixes("192.168.200.17/24"), machine: "192.168.201.200/24"},
		{name: "a single host route", taken: prefixes("192.168.200.77/32"), machine: "192.168.201.200/24"},
		{name: "a wide VPN", taken: prefixes("192.168.192.0/20"), machine: "192.168.208.200/24"},
		{name: "default route", taken: prefixes("0.0.0.0/0"), machine: "192.168.200.200/24"},
		{name: "default route in two pieces", taken: prefixes("0.0.0.0/1", "128.0.0.0/1"), machine: "192.168.200.200/24"},
		{name: "IPv6 is another world", taken: prefixes("fd00::/8", "::/0"), machine: "192.168.200.200/24"},
		{name: "IPv4 in IPv6 clothes", taken: prefixes("::ffff:192.168.200.0/120"), machine: "192.168.201.200/24"},
		{name: "invalid prefixes are nothing", taken: []netip.Prefix{{}}, machine: "192.168.200.200/24"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := DefaultPool().Allocate(tc.used, tc.taken)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.machine, got.Machine.String()); diff != "" {
				t.Error(diff)
			}
			if want := netip.PrefixFrom(got.Prefix().Addr().Next(), 24); got.Host != want {
				t.Errorf("host is %s, want %s", got.Host, want)
			}
		})
	}
}

func TestExhaustionNamesWhatTookThePool(t *testing.T) {
	tests := []struct {
		name        string
		pool        Pool
		used, taken []netip.Prefix
		says, hints []string
	}{
		{
			name: "a VPN has it all", pool: DefaultPool(),
			taken: prefixes("192.168.0.0/16", "10.0.0.0/8", "0.0.0.0/0"),
			says:  []string{"192.168.200.0/24 to 192.168.254.0/24", "192.168.0.0/16"},
			hints: []string{"--address"},
		},
		{
			name: "machines", pool: Pool{prefixes("10.9.0.0/24")[0], prefixes("10.9.1.0/24")[0]},
			used:  prefixes("10.9.0.0/24", "10.9.1.0/24", "10.9.1.200/24"),
			says:  []string{"2 used by machines"},
			hints: []string{"destroy a machine"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.pool.Allocate(tc.used, tc.taken)
			var e *ExhaustedError
			if !errors.As(err, &e) {
				t.Fatalf("error is %v, want an *ExhaustedError", err)
			}
			for _, s := range tc.says {
				if !strings.Contains(e.Error(), s) {
					t.Errorf("%q does not say %q", e, s)
				}
			}
			for _, s := range tc.hints {
				if !strings.Contains(e.Hint(), s) {
					t.Errorf("hint %q does not say %q", e.Hint(), s)
				}
			}
			if strings.Contains(e.Error(), "10.0.0.0/8") {
				t.Errorf("%q names a route that took nothing of the pool", e)
			}
		})
	}
}

func TestLongListsAreCutShort(t *testing.T) {
	var taken []netip.Prefix
	for p := DefaultPool().First; p != next(DefaultPool().Last); p = next(p) {
		taken = append(taken, p)
	}
	_, err := DefaultPool().Allocate(nil, taken)
	if err == nil || !strings.HasSuffix(err.Error(), "192.168.207.0/24 and 47 more") {
		t.Errorf("got %v", err)
	}
}

func TestPoolsThatCannotServeAreRefused(t *testing.T) {
	for name, ends := range map[string][2]string{
		"backwards":       {"192.168.254.0", "192.168.200.0"},
		"not a network":   {"192.168.200.1", "192.168.254.0"},
		"IPv6":            {"fd00::", "fd00::"},
		"IPv6 as the end": {"192.168.200.0", "fd00::"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewPool(netip.MustParseAddr(ends[0]), netip.MustParseAddr(ends[1]))
			var e *InvalidError
			if !errors.As(err, &e) || e.Hint() == "" {
				t.Errorf("error is %v, want an *InvalidError with a hint", err)
			}
		})
	}
	if _, err := (Pool{}).Allocate(nil, nil); err == nil {
		t.Error("the zero pool allocated")
	}
	if _, err := NewPool(DefaultPool().First.Addr(), DefaultPool().Last.Addr()); err != nil {
		t.Error(err)
	}
}

func anyPrefix(t *rapid.T) netip.Prefix {
	octets := [4]byte{192, 168, rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "d")}
	return netip.PrefixFrom(netip.AddrFrom4(octets), rapid.IntRange(0, 32).Draw(t, "bits"))
}

// Whatever the host and other machines have, what is allocated overlaps none
// of it; and it is refused only when every subnet of the pool is overlapped.
func TestAllocationOverlapsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		used := rapid.SliceOfN(rapid.Custom(anyPrefix), 0, 40).Draw(t, "used")
		taken := rapid.SliceOfN(rapid.Custom(anyPrefix), 0, 40).Draw(t, "taken")
		overlapped := func(p netip.Prefix) bool {
			for _, q := range append(append([]netip.Prefix{}, used...), taken...) {
				if q.Bits() >= 8 && q.Masked().Overlaps(p) {
					return true
				}
			}
			return false
		}
		got, err := DefaultPool().Allocate(used, taken)
		if err != nil {
			for p := DefaultPool().First; ; p = next(p) {
				if !overlapped(p) {
					t.Fatalf("refused, though %s is free: %v", p, err)
				}
				if p == DefaultPool().Last {
					return
				}
			}
		}
		if overlapped(got.Prefix()) {
			t.Fatalf("%s is in use", got.Prefix())
		}
		if got.Host.Masked() != got.Machine.Masked() || got.Host == got.Machine {
			t.Fatalf("%+v is not two ends of one link", got)
		}
		for p := DefaultPool().First; p != got.Prefix(); p = next(p) {
			if !overlapped(p) {
				t.Fatalf("%s was free and lower than %s", p, got.Prefix())
			}
		}
	})
}

func TestTheWholePoolCanBeUsed(t *testing.T) {
	var used []netip.Prefix
	for range 55 {
		s, err := DefaultPool().Allocate(used, nil)
		if err != nil {
			t.Fatalf("after %d machines: %v", len(used), err)
		}
		used = append(used, s.Machine)
	}
	if _, err := DefaultPool().Allocate(used, nil); err == nil {
		t.Error("a 56th subnet came out of a pool of 55")
	}
}

func TestAPoolMayEndWhereAddressesEnd(t *testing.T) {
	p, err := NewPool(netip.MustParseAddr("255.255.255.0"), netip.MustParseAddr("255.255.255.0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Allocate(prefixes("255.255.255.0/24"), nil); err == nil {
		t.Error("allocated what is used")
	}
}
