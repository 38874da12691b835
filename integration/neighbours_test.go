//go:build integration

package integration

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

var neighbourCreates = flag.Int("neighbour-creates", 30, "how many machines are made and destroyed beside one that runs")

// TestAMachineDoesNotNoticeThatOthersComeAndGo watches one machine, which has
// rules and a published port, while others are made and destroyed: its echoes,
// a login that stays open, its link and its rules.
func TestAMachineDoesNotNoticeThatOthersComeAndGo(t *testing.T) {
	t.Parallel()
	for i, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			still := create(t, h, fixture("still", "--publish", "8080:80", "--egress", "internet")...)
			// The kernel announces the link's own IPv6 address once more when nobody
			// has objected to it.
			h.Eventually(t, 10*time.Second, "sh", "-c", `test -z "$(ip -6 address show dev ve-still tentative)"`)
			before := linkAndRules(t, h)
			flood := h.Start(t, testhost.Command{Args: []string{"perl", "-e", flooding, still.Address.String()}})
			if !flood.Await(flood.Stdout, time.Minute, func(text string) bool { return strings.Contains(text, "ready") }) {
				t.Fatalf("it does not begin: %s", flood.Stderr)
			}
			login := h.Start(t, testhost.Command{Args: append(append([]string{"ssh"}, sshOptions...), "still.nspawn", "while echo still; do sleep 0.2; done")})
			links := h.Start(t, testhost.Command{Args: []string{"ip", "monitor", "link", "address", "dev", "ve-still"}})

			// They need no boot to have a link, rules and files of the host, and
			// every third boots.
			made := *neighbourCreates * (2 - i) / 3 // on both together that many
			for n := range made {
				more := [][]string{{"--no-boot"}, {"--no-boot", "--publish", "8081:80", "--egress", "none"}, {"--publish", "8082:80"}}[n%3]
				name := fmt.Sprintf("box%d", n)
				want(t, exitDone, h.Run(t, fixture(name, more...)...))
				destroy(t, h, name)
			}

			if err := flood.Signal(15); err != nil {
				t.Fatal(err)
			}
			r := want(t, exitDone, flood.Wait(t, time.Minute))
			var sent, received int
			if _, err := fmt.Sscanf(strings.TrimPrefix(r.Stdout, "ready\n"), "sent %d received %d", &sent, &received); err != nil || sent < 100 {
				t.Fatalf("%v: %s", err, r)
			}
			if sent != received {
				t.Errorf("of %d echoes %d are missing", sent, sent-received)
			}
			t.Logf("%d echoes during %d machines", sent, made)
			seen := strings.Count(login.Stdout.String(), "still")
			if !login.Await(login.Stdout, time.Minute, func(text string) bool { return strings.Count(text, "still") > seen }) {
				t.Error("the login was ended")
			}
			if after := linkAndRules(t, h); after != before {
				t.Errorf("its link and rules were\n%s\nand are\n%s", before, after)
			}
			if said := links.Stdout.String(); said != "" {
				t.Errorf("its link was touched:\n%s", said)
			}
			destroy(t, h, "still")
		})
	}
}

// linkAndRules are what this host has for the machine "still": its table, which
// the number tells apart from one that was made again, its link and address.
func linkAndRules(t *testing.T, h *testhost.Host) string {
	t.Helper()
	return h.MustRun(t, "sh", "-ec", `nft --handle list tables | grep -w nspawn-build-still; nft --handle list table inet nspawn-build-still
		ip -o link show ve-still; ip -o -4 address show ve-still; ip route show dev ve-still`)
}
