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

var uplinkCreates = flag.Int("uplink-creates", 10, "how many machines are made and destroyed while the host's uplink is watched")

// flooding asks an address for an echo every few milliseconds until it is told
// to end, and prints how many it asked for and how many came.
const flooding = `
use strict; use Socket qw(:all); use Time::HiRes qw(sleep time);
socket(my $s, AF_INET, SOCK_RAW, IPPROTO_ICMP) or die $!;
setsockopt($s, SOL_SOCKET, SO_RCVBUF, 1 << 20);
connect($s, pack_sockaddr_in(0, inet_aton($ARGV[0]))) or die $!;
my ($end, $sent, %got) = (0, 0);
$SIG{TERM} = sub { $end ||= time + 5 }; # the last ones are waited for
$| = 1; print "ready\n";
while (!$end || (time < $end && %got < $sent)) {
	if (!$end) {
		$sent++;
		my @part = unpack("n*", my $p = pack("CCnnN", 8, 0, 0, 0x4321, $sent));
		my $sum = 0; $sum += $_ for @part; $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
		substr($p, 2, 2) = pack("n", ~$sum & 0xffff);
		send($s, $p, 0) or $sent += 1000000; # no route: that is what is looked for
	}
	while (defined(recv($s, my $b, 1500, MSG_DONTWAIT))) {
		my ($type, $code, $c, $id, $seq) = unpack("CCnnN", substr($b, 20));
		$got{$seq} = 1 if $type == 0 && $id == 0x4321;
	}
	sleep 0.005;
}
print "sent $sent received " . scalar(keys %got) . "\n";`

func TestTheUplinkOfTheHostDoesNotNotice(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.Internet(t)
			before := h.MustRun(t, "ip", "route", "show", "default")
			routes := h.Start(t, testhost.Command{Args: []string{"ip", "monitor", "route"}})
			flood := h.Start(t, testhost.Command{Args: []string{"perl", "-e", flooding, testhost.InternetAddress}})
			if !flood.Await(flood.Stdout, time.Minute, func(text string) bool { return strings.Contains(text, "ready") }) {
				t.Fatalf("it does not begin: %s", flood.Stderr)
			}
			for i := range *uplinkCreates {
				name := fmt.Sprintf("box%d", i)
				more := [][]string{nil, {"--publish", "8080:80", "--egress", "internet"}}[i%2]
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
				t.Errorf("of %d packets %d were lost", sent, sent-received)
			}
			t.Logf("%d packets during %d machines", sent, *uplinkCreates)
			if after := h.MustRun(t, "ip", "route", "show", "default"); after != before {
				t.Errorf("the default route was %s and is %s", before, after)
			}
			for line := range strings.Lines(routes.Stdout.String()) {
				if strings.Contains(line, "default") {
					t.Errorf("the default route was touched: %s", line)
				}
			}
		})
	}
}
