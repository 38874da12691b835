// Package spec says what machine is wanted. It turns what a user wrote, as
// flags or as a file, into a Spec that is valid as far as that can be told
// without looking at a host, a distribution or a network.
//
// It does no input or output and holds no secret: passwords travel beside a
// Spec as a Secret, so that a Spec may be written to disk and to logs.
package spec

import (
	"net/netip"
	"strings"
	"time"
)

// Version is the version of the Spec's form on disk.
const Version = 1

// Spec is the validated description of one machine, as it was asked for: what
// was left to a default is empty here and is resolved when the machine is made.
type Spec struct {
	Version int    `json:"version"`
	Name    string `json:"name"`

	Distro   string            `json:"distro"`
	Release  string            `json:"release,omitempty"`
	Arch     string            `json:"arch,omitempty"` // as `uname -m` prints it
	Mirrors  []string          `json:"mirrors,omitempty"`
	Keyring  string            `json:"keyring,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
	Packages []string          `json:"packages,omitempty"`
	// Snapshot is the moment of which packages are to be as they were: a date,
	// or a time as RFC 3339 has it. Empty means now.
	Snapshot string `json:"snapshot,omitempty"`

	// Directory is the absolute path of the directory that holds the tree.
	Directory string `json:"directory"`

	Customize Customize `json:"customize,omitzero"`
	Access    Access    `json:"access"`
	Network   Network   `json:"network"`
	Limits    Limits    `json:"limits"`
	Storage   Storage   `json:"storage,omitzero"`
	Security  Security  `json:"security,omitzero"`
	Driver    Driver    `json:"driver"`
	// Enable has the host boot the machine when it boots itself.
	Enable bool `json:"enable,omitempty"`
	// TTL is how long the machine is wanted from when it is made; zero means
	// until somebody destroys it.
	TTL    Duration          `json:"ttl,omitzero"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Access is how one logs in.
type Access struct {
	Password PasswordKind `json:"password,omitempty"`
	// SSHKeys are lines of authorized_keys that were named by the user.
	SSHKeys []string `json:"sshKeys,omitempty"`
	// InvokerKeys says that the keys of the invoking user are let in, as they
	// are when the machine is made.
	InvokerKeys bool `json:"invokerKeys,omitempty"`
}

// PasswordKind says where the root password comes from. The password itself is
// never part of a Spec.
type PasswordKind string

// The kinds of password.
const (
	PasswordLocked    PasswordKind = ""          // no password opens root
	PasswordGiven     PasswordKind = "given"     // the user gave it in plain
	PasswordHash      PasswordKind = "hash"      // the user gave its crypt(3) hash
	PasswordGenerated PasswordKind = "generated" // we make one and print it once
)

// Network is the link between host and machine.
type Network struct {
	// Address is the machine's, with the length of the subnet; the zero value
	// asks for the next free subnet of the pool.
	Address netip.Prefix `json:"address,omitzero"`
	// Gateway is the host's address on the link; zero means the first of the
	// subnet.
	Gateway netip.Addr `json:"gateway,omitzero"`
	DNS     DNS        `json:"dns"`
	// Private leaves the machine with loopback alone, and so without SSH.
	Private bool      `json:"private,omitempty"`
	Publish []Publish `json:"publish,omitempty"`
	Egress  Egress    `json:"egress,omitempty"`
	// Host is what configures the host's end of the link.
	Host HostNetwork `json:"host,omitempty"`
	// Alias lets this host know the machine by its plain name too.
	Alias bool `json:"alias,omitempty"`
}

// DNS is where a machine's names are resolved.
type DNS struct {
	Mode    DNSMode      `json:"mode"`
	Servers []netip.Addr `json:"servers,omitempty"` // only with DNSServers
}

// DNSMode says how the DNS servers of a machine are chosen.
type DNSMode string

// The modes.
const (
	DNSAuto    DNSMode = "auto"    // the servers that the host itself asks
	DNSHost    DNSMode = "host"    // the host's own stub resolver, on the link
	DNSServers DNSMode = "servers" // those that the user named
)

// Driver is how a machine is booted.
type Driver string

// The drivers.
const (
	DriverAuto    Driver = "auto"
	DriverSystemd Driver = "systemd"
	DriverDirect  Driver = "direct"
)

// Run is how to go about making a machine; it is not part of what the machine
// is, so that it never makes two specs differ.
type Run struct {
	Boot    bool
	Timeout time.Duration // for booting, until a login is proven
	Keep    bool          // leave what was made when a stage fails
	Resume  bool
}

// Secret is a password or its hash. It shows itself nowhere: printing and
// marshalling give a placeholder.
type Secret struct{ value string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{value: s} }

// Reveal returns what is kept.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is nothing to keep.
func (s Secret) Empty() bool { return s.value == "" }

const redacted = "[redacted]"

// String, GoString and MarshalText hide the value from every printer.
func (s Secret) String() string { return redacted }

// GoString hides the value from %#v.
func (s Secret) GoString() string { return redacted }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// FieldError says which field is wrong, with which value, and what would do.
type FieldError struct {
	Field   string
	Value   string
	Problem string // reads on after the value: "is not a size"
	Hint    string
}

// Error is one line: field: "value" problem. Without a value, the problem
// speaks for itself.
func (e *FieldError) Error() string {
	if e.Value == "" {
		return e.Field + ": " + e.Problem
	}
	return e.Field + ": " + quote(e.Value) + " " + e.Problem
}

// Invalid holds everything that is wrong with an input, in the order of the
// fields. It is never empty.
type Invalid []*FieldError

// Error joins the findings with newlines.
func (v Invalid) Error() string {
	lines := make([]string, len(v))
	for i, e := range v {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
