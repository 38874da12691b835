package addr

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestExplicitAddresses(t *testing.T) {
	tests := []struct {
		address, gateway string
		host             string // empty: refused
	}{
		{"10.1.2.3/24", "10.1.2.1", "10.1.2.1/24"},
		{"10.1.2.3/24", "", "10.1.2.1/24"},
		{"10.1.2.3/16", "10.1.200.7", "10.1.200.7/16"},
		{"10.1.2.2/30", "", "10.1.2.1/30"},
		{"10.1.2.1/24", "", ""},           // the gateway's own
		{"10.1.2.1/24", "10.1.2.1", ""},   // the same twice
		{"10.1.2.3/24", "10.1.3.1", ""},   // elsewhere
		{"10.1.2.3/24", "10.1.2.255", ""}, // broadcast
		{"10.1.2.3/24", "fd00::1", ""},
		{"10.1.2.0/24", "", ""},
		{"10.1.2.255/24", "", ""},
		{"10.1.2.3/32", "", ""},
		{"10.1.2.3/31", "", ""},
		{"10.1.2.3/4", "", ""},
		{"127.0.0.2/24", "", ""},
		{"169.254.1.2/24", "", ""},
		{"224.0.0.2/24", "", ""},
		{"0.0.0.2/24", "", ""},
		{"255.0.0.2/24", "", ""},
		{"fd00::2/64", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.address+" via "+tc.gateway, func(t *testing.T) {
			var gateway netip.Addr
			if tc.gateway != "" {
				gateway = netip.MustParseAddr(tc.gateway)
			}
			got, err := Explicit(netip.MustParsePrefix(tc.address), gateway)
			if tc.host == "" {
				var e *InvalidError
				if !errors.As(err, &e) {
					t.Fatalf("got %+v, %v, want an *InvalidError", got, err)
				}
				if e.Error() == "" || e.Hint() == "" {
					t.Errorf("says %q and hints %q", e, e.Hint())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Host.String() != tc.host || got.Machine.String() != tc.address {
				t.Errorf("got %+v, want host %s", got, tc.host)
			}
		})
	}
	if _, err := Explicit(netip.Prefix{}, netip.Addr{}); err == nil {
		t.Error("no address at all was accepted")
	}
}

func TestConflictNamesTheOther(t *testing.T) {
	taken := prefixes("0.0.0.0/0", "128.0.0.0/1", "fd00::/8", "10.1.0.0/16", "172.17.0.1/16")
	tests := map[string]string{
		"10.1.2.3/24":     "10.1.0.0/16",
		"10.0.0.5/8":      "10.1.0.0/16",
		"172.17.44.2/24":  "172.17.0.0/16",
		"192.168.200.2/8": "",
		"10.2.0.2/16":     "",
	}
	for wanted, with := range tests {
		err := Conflict(netip.MustParsePrefix(wanted), taken)
		var e *ConflictError
		switch {
		case with == "" && err != nil:
			t.Errorf("%s: %v", wanted, err)
		case with != "" && !errors.As(err, &e):
			t.Errorf("%s: error is %v, want a *ConflictError", wanted, err)
		case with != "" && (e.With.String() != with || !strings.Contains(e.Error(), with) || e.Hint() == ""):
			t.Errorf("%s conflicts with %s, want %s", wanted, e.With, with)
		}
	}
}
