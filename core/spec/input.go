package spec

import (
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Input is what a user wrote, word for word. The names of its fields follow
// the flags.
type Input struct {
	Name, Distro, Release, Arch string
	Mirrors                     []string
	Keyring                     string
	Options                     []string // KEY=VALUE
	Packages                    []string
	Snapshot                    string
	Directory                   string
	Password                    PasswordKind
	SSHKeys                     []string // lines of authorized_keys
	InvokerKeys                 bool
	Address, Gateway            string
	DNS                         []string
	CPUQuota, MemoryMax         string
	MemoryHigh, IOBandwidth     string
	IOWeight, TasksMax          string
	Driver                      string

	Copies        []string // SOURCE:TARGET
	Scripts       []string // absolute paths
	Hooks         []string // before|after:STAGE:COMMAND
	ScriptNetwork bool

	PrivateNetwork, Alias bool
	Publish               []string // [ADDRESS:]HOST:MACHINE[/tcp|/udp]
	Egress, HostNetwork   string

	Binds, BindsReadOnly []string // SOURCE[:TARGET[:ro]]
	ReadOnly, Ephemeral  bool

	Profile                        string
	Capabilities, DropCapabilities []string
	SystemCallFilter               []string
	NoNewPrivileges                bool
	PrivateUsers                   string

	Enable bool
	TTL    string
	Labels []string // KEY=VALUE
}

// build collects findings on the way to a Spec.
type build struct {
	spec  Spec
	found Invalid
}

func (b *build) note(e *FieldError) {
	if e != nil {
		b.found = append(b.found, e)
	}
}

// Build checks in and returns the Spec that it asks for. Its error is an
// Invalid that holds every finding, not just the first.
func Build(in Input) (Spec, error) {
	b := &build{spec: Spec{Version: Version}}
	var e *FieldError
	b.spec.Name, e = ParseName(in.Name)
	b.note(e)
	b.distribution(in)
	b.snapshot(in.Snapshot)
	b.customize(in)
	b.directory(in.Directory)
	b.access(in)
	b.network(in)
	b.reach(in)
	b.limits(in)
	b.storage(in)
	b.security(in)
	b.lifetime(in)
	b.driver(in.Driver)
	b.profile(in)
	b.contradictions(in)
	if len(b.found) > 0 {
		return Spec{}, b.found
	}
	return b.spec, nil
}

var distroForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func (b *build) distribution(in Input) {
	if in.Distro == "" {
		b.note(&FieldError{"distro", "", "no distribution was given", "give one, such as --distro debian; nspawn-build plugin list shows them"})
	} else if !distroForm.MatchString(in.Distro) {
		b.note(&FieldError{"distro", in.Distro, "is not the name of a distribution", "nspawn-build plugin list shows the names"})
	}
	b.spec.Distro = in.Distro
	if in.Release != "" {
		b.note(Word("release", in.Release, "use the release's own name, such as trixie, or leave it out"))
		b.spec.Release = in.Release
	}
	b.arch(in.Arch)
	for _, m := range in.Mirrors {
		e := Word("mirror", m, "use a URL as the distribution's own tool takes it: http://…, https://… or file:///…")
		if scheme, rest, ok := strings.Cut(m, "://"); e == nil && (!ok || scheme == "" || rest == "") {
			e = &FieldError{"mirror", m, "is not a URL", "use http://…, https://… or file:///…"}
		}
		b.note(e)
	}
	b.spec.Mirrors = in.Mirrors
	if in.Keyring != "" {
		if !filepath.IsAbs(in.Keyring) || hasControl(in.Keyring) {
			b.note(&FieldError{"keyring", in.Keyring, "is not the path of a file", "name a file of public keys"})
		}
		b.spec.Keyring = in.Keyring
	}
	for _, p := range in.Packages {
		b.note(Word("package", p, "use the name of a package of the distribution"))
	}
	b.spec.Packages = in.Packages
	b.options(in.Options)
}

func (b *build) options(pairs []string) {
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		switch _, twice := b.spec.Options[key]; {
		case !ok || key == "" || hasControl(pair):
			b.note(&FieldError{"option", pair, "is not KEY=VALUE", "write --option KEY=VALUE; nspawn-build plugin list shows the keys"})
			continue
		case twice:
			b.note(&FieldError{"option", pair, "repeats its key", "give each key once"})
			continue
		}
		if b.spec.Options == nil {
			b.spec.Options = map[string]string{}
		}
		b.spec.Options[key] = value
	}
}

var archNames = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x", "arm": "armv7l"}

// NativeArch is this machine's architecture as `uname -m` prints it.
func NativeArch() string {
	if a, ok := archNames[runtime.GOARCH]; ok {
		return a
	}
	return runtime.GOARCH
}

func (b *build) arch(s string) {
	if a, ok := archNames[s]; ok {
		s = a
	}
	if s != "" {
		b.note(Word("arch", s, "use x86_64 or aarch64, or leave it out"))
	}
	b.spec.Arch = s
}

func (b *build) directory(s string) {
	if !filepath.IsAbs(s) || hasControl(s) || filepath.Clean(s) == "/" {
		b.note(&FieldError{"directory", s, "is not an absolute path", "name the directory that is to hold the machine's tree, such as /var/lib/machines"})
	}
	b.spec.Directory = filepath.Clean(s)
}

func (b *build) access(in Input) {
	b.spec.Access = Access{Password: in.Password, InvokerKeys: in.InvokerKeys}
	for _, k := range in.SSHKeys {
		line, e := ParseKey("ssh-key", k)
		b.note(e)
		if !slices.Contains(b.spec.Access.SSHKeys, line) {
			b.spec.Access.SSHKeys = append(b.spec.Access.SSHKeys, line)
		}
	}
}

func (b *build) network(in Input) {
	var e *FieldError
	n := &b.spec.Network
	if in.Address != "" {
		n.Address, e = ParseAddress(in.Address)
		b.note(e)
	}
	if in.Gateway != "" && e == nil {
		n.Gateway, e = ParseGateway(in.Gateway, n.Address)
		b.note(e)
	} else if n.Address.IsValid() && n.Address.Addr() == n.Address.Masked().Addr().Next() {
		b.note(&FieldError{
			"network.address", in.Address, "is the subnet's first, which the host takes",
			"use another, or give the host another one with --gateway",
		})
	}
	n.DNS, e = ParseDNS(in.DNS)
	b.note(e)
}

func (b *build) limits(in Input) {
	for _, l := range []struct{ name, value string }{
		{"cpu-quota", in.CPUQuota},
		{"memory-max", in.MemoryMax},
		{"memory-high", in.MemoryHigh},
		{"io-bandwidth", in.IOBandwidth},
		{"io-weight", in.IOWeight},
		{"tasks-max", in.TasksMax},
	} {
		if l.value != "" {
			b.note(b.spec.Limits.Set(l.name, l.value))
		}
	}
}

func (b *build) driver(s string) {
	d := Driver(s)
	if s == "" {
		d = DriverAuto
	}
	if !slices.Contains([]Driver{DriverAuto, DriverSystemd, DriverDirect}, d) {
		b.note(&FieldError{"driver", s, "is not a driver", "use auto, systemd or direct"})
	}
	b.spec.Driver = d
}
