package hostlink

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestSocketsOfTheKernelsListAreRead(t *testing.T) {
	const v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0"
	const v6 = "   1: 0000000000000000FFFF00000100007F:1F90 0:0 0A 00000000:00000000 00:00000000 00000000     0        0 4343 1 0"
	at := netip.MustParseAddr
	for _, c := range []struct {
		line string
		p    spec.Publish
		want string
	}{
		{v4, spec.Publish{Protocol: "tcp", Host: 8080}, "4242"},
		{v4, spec.Publish{Protocol: "tcp", Host: 8080, Address: at("127.0.0.1")}, "4242"},
		{v4, spec.Publish{Protocol: "tcp", Host: 8080, Address: at("192.0.2.1")}, ""},
		{v4, spec.Publish{Protocol: "tcp", Host: 8081}, ""},
		{v6, spec.Publish{Protocol: "tcp", Host: 8080, Address: at("127.0.0.1")}, "4343"},
		{strings.Replace(v4, " 0A ", " 06 ", 1), spec.Publish{Protocol: "tcp", Host: 8080}, ""},
		{"  sl  local_address rem_address   st", spec.Publish{Protocol: "tcp", Host: 8080}, ""},
	} {
		if got, _ := boundTo(c.line, c.p); got != c.want {
			t.Errorf("%q for %s: %q, want %q", c.line, c.p, got, c.want)
		}
	}
}
