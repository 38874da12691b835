package addr

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLinkIsNamedAsSystemdNamesIt(t *testing.T) {
	tests := []struct {
		machine string
		scheme  Scheme
		link    string
	}{
		{"web", Hashed, "ve-web"},
		{"mycontainer", Hashed, "ve-mycontainer"},
		{"twelve-bytes", Hashed, "ve-twelve-bytes"},
		{"thirteenbytes", Truncated, "ve-thirteenbyte"},
		{"averylongcontainername01", Hashed, "ve-averylonakPc"},
		{"averylongcontainername01", Truncated, "ve-averylongcon"},
	}
	for _, tc := range tests {
		if got := LinkName(tc.machine, tc.scheme); got != tc.link {
			t.Errorf("%s: %s, want %s", tc.machine, got, tc.link)
		}
	}
}

func TestSchemeFollowsTheVersion(t *testing.T) {
	for version, want := range map[int]Scheme{0: Hashed, 239: Truncated, 244: Truncated, 245: Hashed, 257: Hashed} {
		if got := SchemeOf(version); got != want {
			t.Errorf("systemd %d: %v, want %v", version, got, want)
		}
	}
}

func TestLinkNamesAreNamesTheKernelTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		machine := rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?`).Draw(t, "machine")
		for _, s := range []Scheme{Hashed, Truncated} {
			link := LinkName(machine, s)
			if len(link) > 15 || !strings.HasPrefix(link, "ve-") || strings.ContainsAny(link, "/: \x00") {
				t.Fatalf("%s: %q", machine, link)
			}
			if len(machine) <= 12 && link != "ve-"+machine {
				t.Fatalf("%s: shortened to %q without need", machine, link)
			}
		}
	})
}

func TestCollisionsAreFound(t *testing.T) {
	others := []string{"web", "averylongcontainername01", "averylongcontainername02"}
	if o, ok := Collides("averylongcontainername03", others, Hashed); ok {
		t.Errorf("collides with %s though the hash tells them apart", o)
	}
	if o, ok := Collides("averylongcontainername03", others, Truncated); !ok || o != "averylongcontainername01" {
		t.Errorf("got %q, %t", o, ok)
	}
	if o, ok := Collides("averylongcontainername01", others[:2], Truncated); ok {
		t.Errorf("a machine collides with %s, itself", o)
	}
	a, b := hashedPair(t)
	if o, ok := Collides(a, []string{"web", b}, Hashed); !ok || o != b {
		t.Errorf("%s and %s share %s unnoticed", a, b, LinkName(a, Hashed))
	}
}

// hashedPair finds two machines that share a link name under the hash: 24
// bits, so a few thousand names are enough.
func hashedPair(t *testing.T) (a, b string) {
	t.Helper()
	seen := map[string]string{}
	for i := range 1 << 16 {
		name := "averylongmachine" + strings.Repeat("x", i>>12) + string(rune('a'+i&15)) +
			string(rune('a'+i>>4&15)) + string(rune('a'+i>>8&15))
		link := LinkName(name, Hashed)
		if other, ok := seen[link]; ok {
			return other, name
		}
		seen[link] = name
	}
	t.Fatal("no collision in 65536 names: the tail is not 24 bits of a hash")
	return "", ""
}

func TestTheSchemeIsPinnedWhereItMatters(t *testing.T) {
	for _, c := range []struct {
		machine string
		scheme  Scheme
		want    string
	}{
		{"web", Hashed, ""},
		{"twelve-bytes", Truncated, ""},
		{"thirteen-byte", Hashed, "v245"},
		{"thirteen-byte", Truncated, "v238"},
	} {
		if got := Pin(c.machine, LinkName(c.machine, c.scheme)); got != c.want {
			t.Errorf("%s, scheme %d: %q, want %q", c.machine, c.scheme, got, c.want)
		}
	}
}
