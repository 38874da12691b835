package spec

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Change says what it takes to give a machine that exists another value of a
// field. It is empty for a field that says how to go about making a machine,
// not what it is.
type Change string

// The kinds of change.
const (
	// ChangeLive takes effect at once, also in a machine that runs.
	ChangeLive Change = "live"
	// ChangeRestart takes effect when the machine boots the next time.
	ChangeRestart Change = "restart"
	// ChangeNew cannot be had but by destroying the machine and making it anew.
	ChangeNew Change = "new machine"
)

// kind is the form of a field's value in a spec file.
type kind int

const (
	kindText   kind = iota
	kindSecret      // a text that is never shown
	kindSwitch      // true or false
	kindList        // of texts
	kindPairs       // of texts by texts
)

// FileField is one row of the table of what a spec file can say.
type FileField struct {
	Key    string // group and name: "limits.memory-max"
	Flag   string // the flag that says the same; empty where none does
	Change Change
	Help   string

	kind    kind
	number  bool // a number is taken too, as the text that stands there
	path    bool // relative to the file
	choices []string
	// disk is the field's name in the form on disk; empty when it is not there.
	disk string
	// also are names that findings have for it besides the key.
	also []string
	at   func(*Wish) any // *string, *bool, *[]string or *Secret
	show func(Spec) any  // string, bool, []string or map[string]string; nil where a spec never says it
}

// named reports whether a finding of that name is about the field.
func (f FileField) named(field string) bool {
	return f.Key == field || slices.Contains(f.also, field) || f.kind == kindPairs && slices.ContainsFunc(f.also, func(name string) bool {
		return strings.HasPrefix(field, name+"s.") // options.variant
	})
}

// Take has w say of the field what from says, in place of what the file says.
func (f FileField) Take(w *Wish, from *Wish) {
	given := false
	switch to := f.at(w).(type) {
	case *string:
		*to = *pointer[string](f.at(from))
		given = *to != ""
	case *bool:
		*to = *pointer[bool](f.at(from))
		given = *to
	case *[]string:
		*to = slices.Clone(*pointer[[]string](f.at(from)))
		given = len(*to) > 0
	case *Secret:
		*to = *pointer[Secret](f.at(from))
		given = !to.Empty()
	}
	delete(w.said, f.Key)
	if given {
		w.Elsewhere(f.Key)
	}
}

// pointer is a type assertion that the table's own test shows to hold.
func pointer[T any](v any) *T {
	p, ok := v.(*T)
	if !ok {
		panic("two values of one field have different types")
	}
	return p
}

// FileFields is the table, in the order in which a file is written.
var FileFields = slices.Concat(fileDistribution, fileCustomize, fileAccess, fileNetwork, fileLimits, fileStorage, fileSecurity, fileLifetime, fileRun, fileImage)

var fileDistribution = []FileField{
	{
		Key: "name", Change: ChangeNew, disk: "name", Help: "the machine's name",
		at: func(w *Wish) any { return &w.Input.Name }, show: func(s Spec) any { return s.Name },
	},
	{
		Key: "distro", Flag: "distro", Change: ChangeNew, disk: "distro", Help: "the distribution, such as debian",
		at: func(w *Wish) any { return &w.Input.Distro }, show: func(s Spec) any { return s.Distro },
	},
	{
		Key: "release", Flag: "release", Change: ChangeNew, disk: "release", number: true, Help: "its release, such as trixie; the current stable one unless given",
		at: func(w *Wish) any { return &w.Input.Release }, show: func(s Spec) any { return s.Release },
	},
	{
		Key: "arch", Flag: "arch", Change: ChangeNew, disk: "arch", Help: "the hardware, x86_64 or aarch64; this host's unless given",
		at: func(w *Wish) any { return &w.Input.Arch }, show: func(s Spec) any { return s.Arch },
	},
	{
		Key: "mirrors", Flag: "mirror", Change: ChangeNew, disk: "mirrors", kind: kindList, also: []string{"mirror"}, Help: "URLs of package mirrors",
		at: func(w *Wish) any { return &w.Input.Mirrors }, show: func(s Spec) any { return s.Mirrors },
	},
	{
		Key: "keyring", Flag: "keyring", Change: ChangeNew, disk: "keyring", path: true, Help: "a file of public keys that the bootstrap trusts",
		at: func(w *Wish) any { return &w.Input.Keyring }, show: func(s Spec) any { return s.Keyring },
	},
	{
		Key: "options", Flag: "option", Change: ChangeNew, disk: "options", kind: kindPairs, number: true, also: []string{"option"}, Help: "options of the distribution's plugin",
		at: func(w *Wish) any { return &w.Input.Options }, show: func(s Spec) any { return s.Options },
	},
	{
		Key: "packages", Flag: "package", Change: ChangeNew, disk: "packages", kind: kindList, also: []string{"package"}, Help: "packages to install too",
		at: func(w *Wish) any { return &w.Input.Packages }, show: func(s Spec) any { return s.Packages },
	},
	{
		Key: "snapshot", Flag: "snapshot", Change: ChangeNew, disk: "snapshot", Help: "the day, such as 2026-11-01, of which packages are to be as they were; now unless given",
		at: func(w *Wish) any { return &w.Input.Snapshot }, show: func(s Spec) any { return s.Snapshot },
	},
	{
		Key: "directory", Flag: "directory", Change: ChangeNew, disk: "directory", path: true, Help: "the directory that holds the tree; containers in your home unless given",
		at: func(w *Wish) any { return &w.Input.Directory }, show: func(s Spec) any { return s.Directory },
	},
	{
		Key: "driver", Flag: "driver", Change: ChangeNew, disk: "driver", choices: []string{string(DriverAuto), string(DriverSystemd), string(DriverDirect)}, Help: "what boots it",
		at: func(w *Wish) any { return &w.Input.Driver }, show: func(s Spec) any { return unless(s.Driver, DriverAuto) },
	},
}

var fileAccess = []FileField{
	{
		Key: "access.ssh-keys", Flag: "ssh-key", Change: ChangeLive, disk: "access.sshKeys", kind: kindList, also: []string{"ssh-key"}, Help: "public keys that are let in, or the paths of files of them",
		at: func(w *Wish) any { return &w.Input.SSHKeys }, show: func(s Spec) any { return s.Access.SSHKeys },
	},
	{
		Key: "access.invoker-keys", Change: ChangeLive, disk: "access.invokerKeys", kind: kindSwitch, Help: "let in the keys of the user who makes the machine, as is done when nothing else is said",
		at: func(w *Wish) any { return &w.Input.InvokerKeys }, show: func(s Spec) any { return s.Access.InvokerKeys },
	},
	{
		Key: "access.password", Change: ChangeNew, disk: "access.password", choices: passwordKinds, Help: "locked; generated and printed once; or given or hash, of which the password or its hash is not in the file",
		at: func(w *Wish) any { return (*string)(&w.Input.Password) }, show: func(s Spec) any { return string(s.Access.Password) },
	},
	{
		Key: "access.password-file", Flag: "password-file", path: true, also: []string{"password-file"}, Help: "a file whose first line is root's password",
		at: func(w *Wish) any { return &w.PasswordFile },
	},
	{
		Key: "access.password-hash", Flag: "password-hash", kind: kindSecret, Help: "the crypt(3) hash of root's password",
		at: func(w *Wish) any { return &w.PasswordHash },
	},
}

var passwordKinds = []string{"locked", string(PasswordGenerated), string(PasswordGiven), string(PasswordHash)}

var fileNetwork = []FileField{
	{
		Key: "network.address", Flag: "address", Change: ChangeNew, disk: "network.address", Help: "the machine's address, such as 192.168.210.200/24; in the next free subnet unless given",
		at: func(w *Wish) any { return &w.Input.Address }, show: func(s Spec) any { return prefixText(s.Network.Address) },
	},
	{
		Key: "network.gateway", Flag: "gateway", Change: ChangeNew, disk: "network.gateway", Help: "the host's address on the link; the subnet's first unless given",
		at: func(w *Wish) any { return &w.Input.Gateway }, show: func(s Spec) any { return addressText(s.Network.Gateway) },
	},
	{
		Key: "network.dns", Flag: "dns", Change: ChangeRestart, disk: "network.dns", kind: kindList, Help: "auto, host, or the addresses of servers",
		at: func(w *Wish) any { return &w.Input.DNS }, show: showDNS,
	},
	{
		Key: "network.private", Flag: "private-network", Change: ChangeNew, disk: "network.private", kind: kindSwitch, also: []string{"network.private-network"}, Help: "no link, and so no SSH",
		at: func(w *Wish) any { return &w.Input.PrivateNetwork }, show: func(s Spec) any { return s.Network.Private },
	},
	{
		Key: "network.publish", Flag: "publish", Change: ChangeLive, disk: "network.publish", kind: kindList, number: true, Help: "ports, as [ADDRESS:]HOST:MACHINE[/udp]",
		at: func(w *Wish) any { return &w.Input.Publish }, show: func(s Spec) any { return formOf(s.Network.Publish) },
	},
	{
		Key: "network.egress", Flag: "egress", Change: ChangeLive, disk: "network.egress", choices: []string{"any", string(EgressInternet), string(EgressNone)}, Help: "what the machine may reach",
		at: func(w *Wish) any { return &w.Input.Egress }, show: func(s Spec) any { return string(s.Network.Egress) },
	},
	{
		Key: "network.host", Flag: "host-network", Change: ChangeRestart, disk: "network.host", choices: []string{"auto", string(HostNetworkNetworkd), string(HostNetworkBuiltin)}, Help: "what configures the host's end of the link",
		at: func(w *Wish) any { return &w.Input.HostNetwork }, show: func(s Spec) any { return string(s.Network.Host) },
	},
	{
		Key: "network.alias", Flag: "alias", Change: ChangeLive, disk: "network.alias", kind: kindSwitch, Help: "let this host know the machine by its plain name",
		at: func(w *Wish) any { return &w.Input.Alias }, show: func(s Spec) any { return s.Network.Alias },
	},
}

var fileLimits = []FileField{
	{
		Key: "limits.cpu-quota", Flag: "cpu-quota", Change: ChangeLive, disk: "limits.cpuQuota", Help: "share of one CPU, such as 50%",
		at: func(w *Wish) any { return &w.Input.CPUQuota }, show: func(s Spec) any { return limitText(s.Limits.CPUQuota, percentText) },
	},
	{
		Key: "limits.memory-max", Flag: "memory-max", Change: ChangeLive, disk: "limits.memoryMax", number: true, Help: "most memory, such as 512M",
		at: func(w *Wish) any { return &w.Input.MemoryMax }, show: func(s Spec) any { return limitText(s.Limits.MemoryMax, size) },
	},
	{
		Key: "limits.memory-high", Flag: "memory-high", Change: ChangeLive, disk: "limits.memoryHigh", number: true, Help: "memory above which the machine is slowed down",
		at: func(w *Wish) any { return &w.Input.MemoryHigh }, show: func(s Spec) any { return limitText(s.Limits.MemoryHigh, size) },
	},
	{
		Key: "limits.io-bandwidth", Flag: "io-bandwidth", Change: ChangeLive, disk: "limits.ioBandwidth", number: true, Help: "most bytes a second, read and written each, such as 50M",
		at: func(w *Wish) any { return &w.Input.IOBandwidth }, show: func(s Spec) any { return limitText(s.Limits.IOBandwidth, size) },
	},
	{
		Key: "limits.io-weight", Flag: "io-weight", Change: ChangeLive, disk: "limits.ioWeight", number: true, Help: "1 to 10000",
		at: func(w *Wish) any { return &w.Input.IOWeight }, show: func(s Spec) any { return limitText(s.Limits.IOWeight, decimal) },
	},
	{
		Key: "limits.tasks-max", Flag: "tasks-max", Change: ChangeLive, disk: "limits.tasksMax", number: true, Help: "most processes and threads",
		at: func(w *Wish) any { return &w.Input.TasksMax }, show: func(s Spec) any { return limitText(s.Limits.TasksMax, decimal) },
	},
}

var fileStorage = []FileField{
	{
		Key: "storage.bind", Flag: "bind", Change: ChangeRestart, disk: "storage.binds", kind: kindList, path: true, Help: "what of the host is seen in the machine, as SOURCE[:TARGET[:ro]]",
		at: func(w *Wish) any { return &w.Input.Binds }, show: func(s Spec) any { return formOf(s.Storage.Binds) },
	},
	{
		Key: "storage.bind-ro", Flag: "bind-ro", Change: ChangeRestart, kind: kindList, path: true, also: []string{"storage.bind"}, Help: "the same, for reading only, as SOURCE[:TARGET]",
		at: func(w *Wish) any { return &w.Input.BindsReadOnly },
	},
	{
		Key: "storage.read-only", Flag: "read-only", Change: ChangeRestart, disk: "storage.readOnly", kind: kindSwitch, Help: "the machine cannot write to its own root",
		at: func(w *Wish) any { return &w.Input.ReadOnly }, show: func(s Spec) any { return s.Storage.ReadOnly },
	},
	{
		Key: "storage.ephemeral", Flag: "ephemeral", Change: ChangeRestart, disk: "storage.ephemeral", kind: kindSwitch, Help: "what was written is thrown away whenever the machine stops",
		at: func(w *Wish) any { return &w.Input.Ephemeral }, show: func(s Spec) any { return s.Storage.Ephemeral },
	},
}

var fileSecurity = []FileField{
	{
		Key: "security.profile", Flag: "profile", Change: ChangeRestart, disk: "security.profile", choices: []string{string(ProfileSandbox)}, Help: "a name for a set of settings",
		at: func(w *Wish) any { return &w.Input.Profile }, show: func(s Spec) any { return string(s.Security.Profile) },
	},
	{
		Key: "security.capabilities", Flag: "capability", Change: ChangeRestart, disk: "security.capabilities", kind: kindList, also: []string{"security.capability"}, Help: "capabilities that the machine has too",
		at: func(w *Wish) any { return &w.Input.Capabilities }, show: func(s Spec) any { return s.Security.Capabilities },
	},
	{
		Key: "security.drop-capabilities", Flag: "drop-capability", Change: ChangeRestart, disk: "security.dropCapabilities", kind: kindList, also: []string{"security.drop-capability"}, Help: "capabilities that are taken from it",
		at: func(w *Wish) any { return &w.Input.DropCapabilities }, show: func(s Spec) any { return s.Security.DropCapabilities },
	},
	{
		Key: "security.no-new-privileges", Flag: "no-new-privileges", Change: ChangeRestart, disk: "security.noNewPrivileges", kind: kindSwitch, Help: "no program in the machine gains privileges",
		at: func(w *Wish) any { return &w.Input.NoNewPrivileges }, show: func(s Spec) any { return s.Security.NoNewPrivileges },
	},
	{
		Key: "security.private-users", Flag: "private-users", Change: ChangeNew, disk: "security.privateUsers", choices: []string{"pick", string(PrivateUsersIdentity), string(PrivateUsersNone)}, Help: "how the machine's users relate to this host's",
		at: func(w *Wish) any { return &w.Input.PrivateUsers }, show: func(s Spec) any { return string(s.Security.PrivateUsers) },
	},
	{
		Key: "security.system-call-filter", Flag: "system-call-filter", Change: ChangeRestart, disk: "security.systemCallFilter", kind: kindList, Help: "system calls or groups of them that are let through or, with ~ before the name, refused",
		at: func(w *Wish) any { return &w.Input.SystemCallFilter }, show: func(s Spec) any { return s.Security.SystemCallFilter },
	},
}

var fileLifetime = []FileField{
	{
		Key: "enable", Flag: "enable", Change: ChangeLive, disk: "enable", kind: kindSwitch, Help: "boot the machine whenever this host boots",
		at: func(w *Wish) any { return &w.Input.Enable }, show: func(s Spec) any { return s.Enable },
	},
	{
		Key: "ttl", Flag: "ttl", Change: ChangeLive, disk: "ttl", Help: "how long the machine is wanted, such as 2h or 7d",
		at: func(w *Wish) any { return &w.Input.TTL }, show: func(s Spec) any { return durationText(s.TTL) },
	},
	{
		Key: "labels", Flag: "label", Change: ChangeLive, disk: "labels", kind: kindPairs, number: true, also: []string{"label"}, Help: "what to find the machine by",
		at: func(w *Wish) any { return &w.Input.Labels }, show: func(s Spec) any { return s.Labels },
	},
}

// fileRun say how to go about making the machine.
var fileRun = []FileField{
	{
		Key: "no-boot", Flag: "no-boot", kind: kindSwitch, Help: "make the machine and do not boot it",
		at: func(w *Wish) any { return &w.NoBoot },
	},
	{
		Key: "timeout", Flag: "timeout", Help: "how long booting may take until a login works, such as 2m",
		at: func(w *Wish) any { return &w.Timeout },
	},
}

func unless[T ~string](v, usual T) string {
	if v == usual {
		return ""
	}
	return string(v)
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func formOf[T interface{ String() string }](values []T) []string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}

func showDNS(s Spec) any {
	switch s.Network.DNS.Mode {
	case DNSServers:
		return formOf(s.Network.DNS.Servers)
	case DNSHost:
		return []string{string(DNSHost)}
	}
	return []string(nil)
}

func limitText(v uint64, show func(uint64) string) string {
	switch v {
	case 0:
		return ""
	case Infinity:
		return "infinity"
	}
	return show(v)
}

func decimal(v uint64) string { return strconv.FormatUint(v, 10) }

func percentText(v uint64) string { return decimal(v) + "%" }

func durationText(d Duration) string {
	if d == 0 {
		return ""
	}
	return time.Duration(d).String()
}
