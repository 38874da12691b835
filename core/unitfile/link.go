package unitfile

import (
	"path"
	"regexp"
)

// LinkUnit is the name of the service that keeps a machine's link: see
// core/hostlink.
func LinkUnit(machine string) string { return "nspawn-build-link@" + machine + ".service" }

// LinkService runs this program for as long as the machine runs, as
// /etc/systemd/system/nspawn-build-link@MACHINE.service.
type LinkService struct {
	Machine string
	Program string // absolute path of this program
	Verb    string // the one that keeps a link
}

var (
	programForm = regexp.MustCompile(`^[A-Za-z0-9/._+-]+$`)
	verbForm    = regexp.MustCompile(`^[a-z-]+$`)
)

// hopeless are the exit statuses by which the program says that trying again
// would be of no use: the host is not ready, or there is no such machine.
const hopeless = "3 9"

// Render returns the file.
func (s LinkService) Render() ([]byte, error) {
	if err := checkMachine(s.Machine); err != nil {
		return nil, err
	}
	if !path.IsAbs(s.Program) || !programForm.MatchString(s.Program) {
		return nil, &ValueError{"ExecStart", s.Program, "is not a plain absolute path"}
	}
	if !verbForm.MatchString(s.Verb) {
		return nil, &ValueError{"ExecStart", s.Verb, "is not a verb"}
	}
	var f file
	f.in("Unit")
	f.set("Description", "Network of machine "+s.Machine+" on this host")
	// These replace all rules of the host when they start.
	f.set("After", "nftables.service firewalld.service ufw.service")
	// It ends when the machine has ended, however that came about, and no
	// earlier: nobody opens by hand what the machine is kept from.
	f.set("StopWhenUnneeded", "yes")
	f.set("RefuseManualStop", "yes")
	f.set("StartLimitIntervalSec", "0")
	f.in("Service")
	f.set("Type", "notify")
	f.set("ExecStart", s.Program+" "+s.Verb+" "+s.Machine)
	// The rules hold without it; published ports over loopback do not, nor are
	// networks closed that the host joins. However it ended, it is needed for as
	// long as the machine runs.
	f.set("Restart", "always")
	f.set("RestartSec", "1")
	f.set("RestartPreventExitStatus", hopeless)
	// Rules, addresses and ports below 1024, and no more of the host.
	f.set("CapabilityBoundingSet", "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SYS_PTRACE CAP_DAC_READ_SEARCH")
	f.set("NoNewPrivileges", "yes")
	f.set("ProtectSystem", "full")
	f.set("ProtectHome", "read-only")
	f.set("RestrictAddressFamilies", "AF_UNIX AF_INET AF_NETLINK")
	f.set("RestrictNamespaces", "yes")
	f.set("MemoryDenyWriteExecute", "yes")
	f.set("LimitNOFILE", "65536")
	return f.render(s.Machine)
}

// LinkReady is a file that is there as long as what this host does for the
// machine's link is in place.
func LinkReady(machine string) string { return "/run/nspawn-build/links/" + machine }

// LinkDropIn has a machine start only when its LinkService has done its work, as
// /etc/systemd/system/systemd-nspawn@MACHINE.service.d/51-nspawn-build-network.conf.
type LinkDropIn struct {
	Machine string
	// Naming is the scheme by which systemd is to name the link, as in its
	// variable NET_NAMING_SCHEME; empty where that makes no difference. Rules
	// go by the link's name.
	Naming string
}

var namingForm = regexp.MustCompile(`^v[0-9]+$`)

// Render returns the file.
func (d LinkDropIn) Render() ([]byte, error) {
	if err := checkMachine(d.Machine); err != nil {
		return nil, err
	}
	var f file
	f.in("Unit")
	// Not Requires=: with that the machine would be stopped whenever the
	// service is started again, though the rules hold without it.
	f.set("Wants", LinkUnit(d.Machine))
	f.set("After", LinkUnit(d.Machine))
	f.set("AssertPathExists", LinkReady(d.Machine))
	// Without its settings systemd-nspawn would run it, and harden nothing.
	f.set("AssertPathExists", "/etc/systemd/nspawn/"+d.Machine+".nspawn")
	if d.Naming != "" {
		if !namingForm.MatchString(d.Naming) {
			return nil, &ValueError{"Environment", d.Naming, "is not a naming scheme"}
		}
		f.in("Service")
		f.set("Environment", "NET_NAMING_SCHEME="+d.Naming)
	}
	return f.render(d.Machine)
}
