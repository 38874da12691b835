//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// answering is a program that answers on a port, by TCP over IPv4 and IPv6 and
// by UDP, with the address of who asked. Perl is in every Debian.
const answering = `
use strict; use Socket qw(:all);
my $port = $ARGV[0];
socket(my $t, AF_INET6, SOCK_STREAM, 0) or die $!;
setsockopt($t, SOL_SOCKET, SO_REUSEADDR, 1); setsockopt($t, IPPROTO_IPV6, IPV6_V6ONLY, 0);
bind($t, pack_sockaddr_in6($port, inet_pton(AF_INET6, "::"))) or die $!;
listen($t, 64) or die $!;
socket(my $u, AF_INET, SOCK_DGRAM, 0) or die $!;
bind($u, pack_sockaddr_in($port, INADDR_ANY)) or die $!;
$| = 1; print "ready\n";
if (fork()) {
	while (my $from = accept(my $c, $t)) {
		my ($p, $a) = unpack_sockaddr_in6($from);
		my $text = inet_ntop(AF_INET6, $a); $text =~ s/^::ffff://;
		print $c "$text\n"; close $c;
	}
} else {
	while (my $from = recv($u, my $b, 100, 0)) {
		my ($p, $a) = unpack_sockaddr_in($from);
		send($u, inet_ntoa($a) . "\n", 0, $from);
	}
}`

// probing tries, all at once, what its arguments say and prints those that
// answer: tcp/ADDRESS/PORT, udp/ADDRESS/PORT or icmp/ADDRESS.
const probing = `
use strict; use Socket qw(:all);
my @kids;
for my $what (@ARGV) {
	my $pid = fork();
	if ($pid) { push @kids, [$pid, $what]; next }
	alarm 4; # the end of the probe
	my ($proto, $address, $port) = split m{/}, $what;
	my ($err, $to) = getaddrinfo($address, $port // 0, {flags => AI_NUMERICHOST, socktype => SOCK_STREAM});
	exit 1 if $err;
	if ($proto eq "tcp") {
		socket(my $s, $to->{family}, SOCK_STREAM, 0) or exit 1;
		connect($s, $to->{addr}) or exit 1;
		exit(defined(readline $s) ? 0 : 1);
	}
	my $icmp = $proto eq "icmp";
	socket(my $s, AF_INET, $icmp ? SOCK_RAW : SOCK_DGRAM, $icmp ? IPPROTO_ICMP : 0) or exit 1;
	connect($s, $to->{addr}) or exit 1;
	my $echo = pack("CCnnn", 8, 0, 0, 0x1234, 1);
	my $sum = 0x0800 + 0x1234 + 1; $sum = ~($sum + ($sum >> 16)) & 0xffff;
	send($s, $icmp ? pack("CCnnn", 8, 0, $sum, 0x1234, 1) : "?", 0) or exit 1;
	while (1) {
		defined(recv($s, my $b, 1500, 0)) or exit 1;
		exit 0 unless $icmp;
		# Before it was connected the socket got what was sent to the others.
		exit 0 if ord(substr($b, 20, 1)) == 0 && substr($b, 12, 4) eq inet_pton(AF_INET, $address);
	}
}
for (@kids) { waitpid($_->[0], 0); print "$_->[1]\n" if $? == 0 }
exit 0`

// reached lists, of what a machine tries, what answers.
func reached(t *testing.T, h *testhost.Host, machine string, targets ...string) []string {
	t.Helper()
	r := want(t, exitDone, h.Run(t, slices.Concat([]string{"nspawn-build", "exec", machine, "--", "perl", "-e", probing, "--"}, targets)...))
	return strings.Fields(r.Stdout)
}

// answer starts a program on the host that answers on a port.
func answer(t *testing.T, h *testhost.Host, port string) {
	t.Helper()
	p := h.Start(t, testhost.Command{Args: []string{"perl", "-e", answering, port}})
	if !p.Await(p.Stdout, time.Minute, func(text string) bool { return strings.Contains(text, "ready") }) {
		t.Fatalf("nothing answers on the host: %s%s", p.Stdout, p.Stderr)
	}
}

// answerInside does the same in a machine.
func answerInside(t *testing.T, h *testhost.Host, machine, port string) {
	t.Helper()
	p := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "exec", machine, "--", "perl", "-e", answering, port}})
	if !p.Await(p.Stdout, time.Minute, func(text string) bool { return strings.Contains(text, "ready") }) {
		t.Fatalf("nothing answers in %s: %s%s", machine, p.Stdout, p.Stderr)
	}
}

// hostSide is the host's address on a machine's link.
func hostSide(m created) string { return strings.TrimSuffix(m.Address.String(), ".200") + ".1" }

func TestAMachineReachesTheInternetAndNothingElse(t *testing.T) {
	t.Parallel()
	const port = testhost.EchoPort
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.Internet(t)
			before := h.Snapshot(t)
			answer(t, h, port)
			other := create(t, h, fixture("other")...)
			open := create(t, h, fixture("open")...)
			net := create(t, h, fixture("net", "--egress", "internet")...)
			sandbox := create(t, h, fixture("sandbox", "--profile", "sandbox")...)
			none := want(t, exitDone, h.Run(t, fixture("none", "--egress", "none")...))
			if !strings.Contains(none.Stderr, "on purpose") {
				t.Errorf("it does not say that no name is resolved: %s", none)
			}
			answerInside(t, h, "other", port)
			targets := func(m created) []string {
				host := hostSide(m)
				return []string{
					"tcp/" + testhost.InternetAddress + "/" + port, "udp/" + testhost.InternetAddress + "/" + port, "icmp/" + testhost.InternetAddress,
					"tcp/" + testhost.OutsideAddress + "/" + port, "udp/" + testhost.OutsideAddress + "/" + port, "icmp/" + testhost.OutsideAddress,
					"tcp/" + testhost.MetadataAddress + "/" + port, "icmp/" + testhost.MetadataAddress,
					"tcp/" + host + "/" + port, "udp/" + host + "/" + port, "icmp/" + host,
					"tcp/" + testhost.HostAddress + "/" + port, "icmp/" + testhost.HostAddress,
					"tcp/" + hostSide(other) + "/" + port,
					"tcp/" + other.Address.String() + "/" + port, "udp/" + other.Address.String() + "/" + port, "icmp/" + other.Address.String(),
					"tcp/fd77::1/" + port,
				}
			}
			all := targets(net)
			for _, name := range []string{"open", "net", "sandbox", "none"} {
				// An address of its own on the link, as a root inside can give it. The
				// sandbox has no raw sockets.
				sixth := h.Run(t, "grep", "-qx", "0", "/proc/sys/net/ipv6/conf/ve-"+name+"/disable_ipv6").Exit == 0
				if sixth { // where nspawn-build itself configures the link it has no IPv6
					h.MustRun(t, "ip", "-6", "address", "add", "fd77::1/64", "dev", "ve-"+name, "nodad")
				}
				h.MustRun(t, "nspawn-build", "exec", name, "--", "ip", "-6", "address", "add", "fd77::2/64", "dev", "host0", "nodad")
				got := reached(t, h, name, targets(map[string]created{"open": open, "net": net, "sandbox": sandbox, "none": {Address: net.Address}}[name])...)
				wanted := map[string][]string{"open": targets(open), "net": all[:3], "sandbox": all[:2], "none": {}}[name]
				if !sixth && name == "open" {
					wanted = wanted[:len(wanted)-1]
				}
				if diff := cmp.Diff(wanted, got); diff != "" {
					t.Errorf("%s reaches (-want +got):\n%s", name, diff)
				}
				if sixth {
					h.MustRun(t, "ip", "-6", "address", "del", "fd77::1/64", "dev", "ve-"+name)
				}
			}
			// Its name server answers, at the LAN neighbour that is closed otherwise.
			if r := h.Run(t, "nspawn-build", "exec", "net", "--", "getent", "hosts", testhost.OutsideName); !strings.Contains(r.Stdout, testhost.OutsideAddress) {
				t.Errorf("no name is resolved: %s", r)
			}
			if r := h.Run(t, "nspawn-build", "exec", "none", "--", "timeout", "5", "getent", "hosts", testhost.OutsideName); r.Exit == 0 {
				t.Errorf("with egress none a name is resolved: %s", r)
			}
			// A reboot from inside changes none of it.
			h.MustRun(t, "nspawn-build", "exec", "net", "--", "systemctl", "reboot")
			h.Eventually(t, time.Minute, "sh", "-c", "ssh "+strings.Join(sshOptions, " ")+" net.nspawn systemctl is-system-running --wait")
			if diff := cmp.Diff(all[:3], reached(t, h, "net", all...)); diff != "" {
				t.Errorf("after a reboot it reaches (-want +got):\n%s", diff)
			}
			for _, name := range []string{"other", "open", "net", "sandbox", "none"} {
				destroy(t, h, name)
			}
			left := h.Settled(t, before, 10*time.Second, answeringProcesses(t, h)...)
			if left != "" {
				t.Errorf("this is left behind:\n%s", left)
			}
		})
	}
}

func TestPublishedPortsAreReachedAndGiven(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.Internet(t)
			before := h.Snapshot(t)
			m := create(t, h, fixture("box", "--egress", "none", "--publish", "8080:7000", "--publish", "8080:7000/udp", "--publish", "127.0.0.1:8081:7000")...)
			answerInside(t, h, "box", "7000")
			for _, network := range []string{"tcp4", "udp4"} {
				line, err := h.FromOutside(t, network, testhost.HostAddress+":8080")
				if strings.TrimSpace(line) != testhost.OutsideAddress {
					t.Errorf("from outside by %s it sees %q, %v: want the sender's own address", network, line, err)
				}
			}
			if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":8081"); err == nil {
				t.Errorf("what is published on loopback is reached from outside: %q", line)
			}
			host := []string{
				"tcp/127.0.0.1/8080", "udp/127.0.0.1/8080", "tcp/" + testhost.HostAddress + "/8080", "udp/" + testhost.HostAddress + "/8080",
				"tcp/" + hostSide(m) + "/8080", "tcp/127.0.0.1/8081",
			}
			r := want(t, exitDone, h.Run(t, slices.Concat([]string{"perl", "-e", probing, "--"}, host)...))
			if diff := cmp.Diff(host, strings.Fields(r.Stdout)); diff != "" {
				t.Errorf("from the host (-want +got):\n%s", diff)
			}
			for args, says := range map[string]string{"8080:80": "machine box", "127.0.0.1:8081:81": "machine box", "22:22": "process", "192.0.2.9:90:90": "does not have"} {
				if says == "process" {
					answer(t, h, "22")
				}
				r := want(t, exitUsage, h.Run(t, fixture("second", "--publish", args)...))
				if !strings.Contains(r.Stderr, says) || !strings.Contains(r.Stderr, "hint:") || !strings.Contains(r.Stderr, "network.publish") {
					t.Errorf("it does not say who has %s: %s", args, r)
				}
			}
			destroy(t, h, "box")
			if diff := h.Settled(t, before, 10*time.Second, answeringProcesses(t, h)...); diff != "" {
				t.Errorf("this is left behind:\n%s", diff)
			}
		})
	}
}

// answeringProcesses are the names in a snapshot of what the test itself runs.
func answeringProcesses(t *testing.T, h *testhost.Host) []string {
	t.Helper()
	var names []string
	for name := range h.Snapshot(t) {
		if strings.HasPrefix(name, "process perl -e") {
			names = append(names, name)
		}
	}
	return names
}

func TestAMachineOfSystemdKeepsItsNetworkHoweverItIsStarted(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.Internet(t)
	before := h.Snapshot(t)
	create(t, h, fixture("box", "--egress", "internet", "--publish", "8080:7000")...)
	closed := []string{"tcp/" + testhost.OutsideAddress + "/" + testhost.EchoPort, "tcp/" + testhost.InternetAddress + "/" + testhost.EchoPort}
	check := func(how string) {
		t.Helper()
		h.Eventually(t, time.Minute, "sh", "-c", "ssh "+strings.Join(sshOptions, " ")+" box.nspawn systemctl is-system-running --wait")
		if diff := cmp.Diff(closed[1:], reached(t, h, "box", closed...)); diff != "" {
			t.Errorf("%s: it reaches (-want +got):\n%s", how, diff)
		}
	}
	check("created")
	h.MustRun(t, "machinectl", "poweroff", "box")
	h.Eventually(t, time.Minute, "sh", "-c", "! systemctl is-active nspawn-build-link@box.service && ! nft list tables | grep nspawn-build")
	h.MustRun(t, "machinectl", "start", "box")
	check("started by machinectl")
	h.MustRun(t, "systemctl", "kill", "--signal=KILL", "nspawn-build-link@box.service")
	check("its keeper was killed")
	h.Eventually(t, time.Minute, "systemctl", "is-active", "nspawn-build-link@box.service")
	h.MustRun(t, "systemctl", "kill", "nspawn-build-link@box.service")
	check("its keeper was asked to end")
	h.Eventually(t, time.Minute, "systemctl", "is-active", "nspawn-build-link@box.service")
	check("its keeper is back")
	h.MustRun(t, "nft", "delete", "table", "inet", "nspawn-build-box")
	h.Eventually(t, 10*time.Second, "nft", "list", "table", "inet", "nspawn-build-box")
	check("its rules were deleted")
	// Without its rules it does not start.
	want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
	answer(t, h, "8080")
	if r := h.Run(t, "machinectl", "start", "box"); r.Exit == 0 {
		t.Errorf("it starts although its port is taken: %s", r)
	}
	r := want(t, exitBoot, h.Run(t, "nspawn-build", "start", "box"))
	if !strings.Contains(r.Stderr, "8080") || !strings.Contains(r.Stderr, "perl") {
		t.Errorf("it does not say who has its port: %s", r)
	}
	destroy(t, h, "box")
	if diff := h.Settled(t, before, 10*time.Second, answeringProcesses(t, h)...); diff != "" {
		t.Errorf("this is left behind:\n%s", diff)
	}
}

func TestAMachineIsKnownByItsPlainName(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.WriteFile(t, "/etc/hosts", "127.0.0.1 localhost\n10.9.9.9 printer", "0640") // and no end to the last line
			before := h.Snapshot(t)
			for name, says := range map[string]string{"printer": "10.9.9.9", "localhost": "every host", "testhost": "this host"} {
				if name == "testhost" {
					name = strings.TrimSpace(h.MustRun(t, "uname", "-n"))
				}
				r := want(t, exitUsage, h.Run(t, fixture(name, "--alias")...))
				if !strings.Contains(r.Stderr, says) || !strings.Contains(r.Stderr, "network.alias") {
					t.Errorf("%s: it does not say why: %s", name, r)
				}
			}
			nothingLeft(t, h, before)
			m := create(t, h, fixture("box", "--alias")...)
			if r := ssh(t, h, "box", "uname", "-n"); r.Stdout != "box\n" || r.Stderr != "" {
				t.Errorf("ssh box: %s", r)
			}
			if got := h.MustRun(t, "getent", "hosts", "box"); !strings.Contains(got, m.Address.String()) {
				t.Errorf("box is %q", got)
			}
			destroy(t, h, "box")
			nothingLeft(t, h, before)
			h.MustRun(t, "sh", "-c", "mv /etc/hosts /etc/hosts.real && ln -s hosts.real /etc/hosts")
			r := want(t, exitHost, h.Run(t, fixture("box", "--alias")...))
			if !strings.Contains(r.Stderr, "is a link") {
				t.Errorf("it does not say that hosts is a link: %s", r)
			}
		})
	}
}

func TestLongNamesHaveLinksOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			one := create(t, h, fixture("averylongname-1", "--publish", "8081:22")...)
			two := create(t, h, fixture("averylongname-2", "--publish", "8082:22")...)
			checkMachine(t, h, one)
			checkMachine(t, h, two)
			for _, m := range []created{one, two} {
				destroy(t, h, m.Name)
			}
			nothingLeft(t, h, before)
		})
	}
}

func TestALinkOfAnotherNameIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	// As the kernel's command line would say after it was changed.
	const dropIn = "/etc/systemd/system/systemd-nspawn@.service.d/10-naming.conf"
	h.WriteFile(t, dropIn, "[Service]\nEnvironment=NET_NAMING_SCHEME=v238\n", "0644")
	h.MustRun(t, "systemctl", "daemon-reload")
	r := want(t, exitBoot, h.Run(t, fixture("averylongname-1")...))
	if !strings.Contains(r.Stderr, "is called ve-averylongnam and not ve-averylon") {
		t.Errorf("it does not say what the link is called: %s", r)
	}
	// Where rules go by its name it has that name all the same.
	want(t, exitDone, h.Run(t, fixture("averylongname-2", "--egress", "internet")...))
}

func TestNetworksOfTheHostAreNotGivenToMachines(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	for _, command := range []string{
		"ip route add 192.168.200.0/23 dev eth0 table 51820", // a VPN's
		"ip link add docker0 type bridge && ip address add 192.168.202.1/24 dev docker0",
		"ip route add blackhole 192.168.203.128/25",
	} {
		h.MustRun(t, "sh", "-ec", command)
	}
	before := h.Snapshot(t)
	for _, taken := range []string{"192.168.201", "192.168.202", "192.168.203"} {
		r := want(t, exitUsage, h.Run(t, fixture("box", "--address", taken+".9/24")...))
		if !strings.Contains(r.Stderr, "network.address") || !strings.Contains(r.Stderr, "hint: choose another") {
			t.Errorf("%s: it does not say what to do: %s", taken, r)
		}
	}
	nothingLeft(t, h, before)
	if m := create(t, h, fixture("box")...); m.Address.String() != "192.168.204.200" {
		t.Errorf("it has %s", m.Address)
	}
}

func TestAProgramThatOthersCanChangeIsNotRunWithAMachine(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.MustRun(t, "sh", "-ec", "mkdir -m 777 /srv/open && cp -a /usr/local/bin/nspawn-build /srv/open/")
	before := h.Snapshot(t)
	args := fixture("box", "--egress", "internet")
	args[0] = "/srv/open/nspawn-build"
	r := want(t, exitHost, h.Run(t, args...))
	if !strings.Contains(r.Stderr, "/srv/open") || !strings.Contains(r.Stderr, "hint: install it") {
		t.Errorf("it does not say why: %s", r)
	}
	nothingLeft(t, h, before)
	// A plain machine needs nothing of the kind.
	want(t, exitDone, h.Run(t, slices.Concat([]string{args[0]}, fixture("box")[1:])...))
	if got := h.MustRun(t, "systemctl", "show", "--property=Wants,DropInPaths", "systemd-nspawn@box.service"); strings.Contains(got, "nspawn-build-link") {
		t.Errorf("a plain machine has a hook: %s", got)
	}
}
