package addr

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestExplicitAddresses(t *testing.T) {
	tests := []struct{ address, gateway, host string }{
		{"10.1.2.3/24", "10.1.2.254", "10.1.2.254/24"},
		{"10.1.2.3/16", "10.1.200.7", "10.1.200.7/16"},
		{"10.1.2.3/24", "", "10.1.2.1/24"},
		{"10.1.2.2/30", "", "10.1.2.1/30"},
		{"10.1.2.1/30", "", "10.1.2.2/30"}, // the first is the machine's own
	}
	for _, tc := range tests {
		t.Run(tc.address+" via "+tc.gateway, func(t *testing.T) {
			var gateway netip.Addr
			if tc.gateway != "" {
				gateway = netip.MustParseAddr(tc.gateway)
			}
			want := Subnet{Host: netip.MustParsePrefix(tc.host), Machine: netip.MustParsePrefix(tc.address)}
			if got := Explicit(want.Machine, gateway); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
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
