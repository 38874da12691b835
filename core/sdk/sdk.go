// Package sdk is what the author of a distro plugin imports, and all that they
// import: it speaks the protocol nspawnbuild.bootstrap.v1 on their behalf.
//
// A plugin is a type that implements Plugin and a main of one line:
//
//	func main() { sdk.Serve(myPlugin{}) }
//
// The package imports nothing else of nspawn-build, so that a plugin built
// against it depends on the protocol only.
package sdk

import (
	"context"
	"slices"
)

// Plugin bootstraps the root file systems of one or more distributions.
//
// The host calls Describe first, then Validate, then Plan or Bootstrap.
// All but Bootstrap must be free of side effects.
type Plugin interface {
	// Describe says what the plugin is and can make. It needs no network.
	Describe(ctx context.Context) (Description, error)
	// Validate checks req and fills in its defaults. Findings about the
	// request are diagnostics; an error means that validating itself failed.
	Validate(ctx context.Context, req Request) (Validation, error)
	// Plan says what Bootstrap would do.
	Plan(ctx context.Context, req Request) (Plan, error)
	// Bootstrap fills req.Target and returns what the host must know of it.
	// When ctx is done it ends its tools and returns. An error that is, or
	// wraps, a *Failure reaches the user with its hint and code; any other
	// is reported as CodeTool.
	Bootstrap(ctx context.Context, req Request, report Reporter) (Facts, error)
}

// Stater is a Plugin that can say what a tree made now would be made of. Serve
// lists FeatureState for it.
type Stater interface {
	Plugin
	// State has no side effects. It may ask the mirrors of req, which is as
	// Validate resolved it.
	State(ctx context.Context, req Request) (State, error)
}

// Features are what a plugin does beyond protocol 1.0. A host asks for none of
// these of a plugin that does not list it.
const (
	FeatureState        = "state"        // it is a Stater
	FeatureSnapshot     = "snapshot"     // it heeds Request.Snapshot
	FeatureReproducible = "reproducible" // it heeds Request.SourceDateEpoch
	FeaturePin          = "pin"          // it heeds Request.Pinned
)

// State is the answer to State.
type State struct {
	Engine string // the program that would do the work, with its version
	// Repository is what the repositories hold now: a digest of the index of
	// each, by a name that people understand. Two equal maps mean that the
	// same request gives the same packages. Empty means that it cannot be told.
	Repository map[string]string
}

// Reporter receives the events of a running Bootstrap. Its methods may be
// called from several goroutines and never block for long.
type Reporter interface {
	// Phase says that a new part of the job begins: a short word such as
	// "download", "unpack" or "configure".
	Phase(name string)
	// Progress counts within the current phase.
	Progress(p Progress)
	// Line passes on one line of a tool's output.
	Line(text string)
	// Warning tells the user something that does not stop the job.
	Warning(message, hint string)
}

// Progress is how far the current phase has come.
type Progress struct {
	Done  uint64
	Total uint64 // 0 when not known yet
	Unit  string // what is counted: "packages" or "bytes"
	Item  string // what is worked on now, such as a package name
}

// Request names the root file system to make.
type Request struct {
	JobID          string
	Distro         string
	Release        string            // empty means the default
	Architecture   string            // as `uname -m` prints it: x86_64, aarch64
	Mirrors        []string          // in order of preference; empty means the plugin's choice
	Keyring        string            // path of a file of public keys to trust instead of the built-in ones
	Packages       []string          // beside those that a bootable machine needs
	Options        map[string]string // only keys that Describe declared
	Target         string            // absolute path of an existing, empty directory; unset for Validate and Plan
	CacheDirectory string            // absolute; shared with other jobs of the same plugin, at the same time too
	WorkDirectory  string            // absolute, existing and empty; the host removes it afterwards

	// Snapshot is the moment of which the repositories are to be as they were:
	// a date (2026-11-01) or RFC 3339. Empty means now.
	Snapshot string
	// SourceDateEpoch, in seconds since 1970, stands for every time that making
	// the tree leaves in it; 0 means the clock's.
	SourceDateEpoch int64
	// Pinned are, when there are any, exactly the packages that are to be in
	// the tree, each in exactly that version.
	Pinned []Package
}

// Description is a plugin's answer to Describe.
type Description struct {
	Name     string     `json:"name"`     // the part after "nspawn-build-plugin-" of the binary's name
	Version  string     `json:"version"`  // semantic version of the plugin
	Protocol string     `json:"protocol"` // "MAJOR.MINOR"; Serve fills it in
	Distros  []Distro   `json:"distros"`
	Tools    []ToolNeed `json:"tools,omitempty"`
	Options  []Option   `json:"options,omitempty"`
	Features []string   `json:"features,omitempty"` // see the constants
}

// Has reports whether the plugin has a feature.
func (d Description) Has(feature string) bool { return slices.Contains(d.Features, feature) }

// Distro is one distribution that a plugin can make.
type Distro struct {
	Name           string   `json:"name"` // the value of --distro
	Title          string   `json:"title"`
	Releases       []string `json:"releases"` // the newest first; a plugin may accept others
	DefaultRelease string   `json:"defaultRelease"`
	Architectures  []string `json:"architectures"`
}

// ToolNeed is a need for at least one of several programs on the host.
type ToolNeed struct {
	AnyOf    []string          `json:"anyOf"` // the first that is there is used
	Purpose  string            `json:"purpose,omitempty"`
	Packages map[string]string `json:"packages,omitempty"` // host family ("debian", "arch", "fedora") to package
	Distros  []string          `json:"distros,omitempty"`  // empty means all of the plugin's
}

// Option is one KEY of --option KEY=VALUE.
type Option struct {
	Name    string   `json:"name"`
	Help    string   `json:"help,omitempty"`
	Choices []string `json:"choices,omitempty"` // empty means any value
	Default string   `json:"default,omitempty"`
}

// Severity ranks a Diagnostic.
type Severity int

// The severities.
const (
	SeverityWarning Severity = iota + 1
	SeverityError
)

// Diagnostic is one finding about a request.
type Diagnostic struct {
	Severity Severity
	Field    string // "release", "mirrors", "options.KEY"
	Message  string // what is wrong, with the value
	Hint     string // what would do instead
	// Code is what Bootstrap would fail with: CodeHostNotReady when it is the
	// host that lacks something. Any other means that the request is wrong.
	Code Code
}

// Validation is the answer to Validate.
type Validation struct {
	Diagnostics []Diagnostic
	Resolved    Request // the request with every default filled in
}

// Plan is what Bootstrap would do.
type Plan struct {
	Commands       [][]string
	Packages       []string
	EstimatedBytes uint64 // of the finished tree; 0 when not known
}

// Facts is what the host must know of a finished tree to configure it.
type Facts struct {
	OSRelease      map[string]string
	SSHUnits       []string // enabling them makes sshd answer on port 22
	NetworkUnits   []string // enabling them configures the network
	ResolverUnits  []string // of the stub resolver; empty when there is none
	PackageManager string   // the command inside: apt-get, pacman, dnf
	Packages       []Package
	MaskUnits      []string // units that would disturb a container
	ProbeHost      string   // a name that the machine must be able to resolve; may be empty
}

// Package is one installed package. What is not known of it is empty.
type Package struct {
	Name         string
	Version      string
	Architecture string
	// Source is the source package that it was built of, where that has
	// another name, and SourceVersion the version of that.
	Source        string `json:",omitempty"`
	SourceVersion string `json:",omitempty"`
	License       string `json:",omitempty"` // as the package states it
	// SHA256 of the package's file, as the repository's signed index told it:
	// 64 lower-case hexadecimal digits.
	SHA256 string `json:",omitempty"`
}
