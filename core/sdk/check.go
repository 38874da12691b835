package sdk

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrProtocol is what every *ProtocolError is.
var ErrProtocol = errors.New("the plugin breaks the protocol")

// ProtocolError says which rule of the protocol a plugin broke, and how. It is
// a fault of the plugin and never of its user.
type ProtocolError struct {
	ID     string // one of the constants, such as RuleOneEnd
	Rule   string // what it says
	Detail string
	// Err is the error of gRPC's that says so, if one does. It may also come of
	// a process that died, which the host knows better.
	Err error
}

// Error names the rule and what was seen.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("%s (%s): %s", ErrProtocol, e.Rule, e.Detail)
}

// Is makes every ProtocolError an ErrProtocol.
func (e *ProtocolError) Is(target error) bool { return target == ErrProtocol }

// Unwrap returns the error of gRPC's, if there is one.
func (e *ProtocolError) Unwrap() error { return e.Err }

func broke(id, rule, detail string) error {
	return &ProtocolError{ID: id, Rule: rule, Detail: Clean(detail, 512)}
}

// Bounds on what one answer may hold; each is several times what real
// distributions need.
const (
	maxDistros     = 64
	maxReleases    = 256
	maxDiagnostics = 256
	maxPackages    = 50_000
	maxUnits       = 64
	maxCommands    = 256
	maxArguments   = 100_000
	maxFields      = 128
)

var (
	digestForm  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	pluginForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	distroForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	commandForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$`)
	unitForm    = regexp.MustCompile(`^[A-Za-z0-9_:\\][A-Za-z0-9_:.\\@-]{0,240}\.(service|socket|target|timer|path|mount|automount|swap|slice|scope|device)$`)
	hostForm    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$`)
)

// PluginNames says in words what IsPluginName takes.
const PluginNames = "lower-case letters, digits and dashes, beginning with no dash, at most 63"

// IsPluginName reports whether a plugin can be called so. It is part of the name
// of its file, and of where it is kept.
func IsPluginName(name string) bool { return pluginForm.MatchString(name) }

// atMost is the rule that a list has no more than limit entries.
func atMost(field string, count, limit int) error {
	if count > limit {
		return broke(RuleListsBounded, "lists are of a sane length", fmt.Sprintf("%s has %d entries, more than %d", field, count, limit))
	}
	return nil
}

func checkDescription(d Description) (Description, error) {
	if !IsPluginName(d.Name) {
		return Description{}, broke(RuleDescribeName, "a plugin's name is "+PluginNames, fmt.Sprintf("name is %q", d.Name))
	}
	err := errors.Join(
		atMost("distros", len(d.Distros), maxDistros),
		atMost("tools", len(d.Tools), maxDistros),
		atMost("options", len(d.Options), maxDistros),
		atMost("features", len(d.Features), maxDistros),
	)
	if err != nil {
		return Description{}, err
	}
	d.Version, d.Protocol = Clean(d.Version, 128), Clean(d.Protocol, 32)
	cleanAll(d.Features, 64)
	seen := map[string]bool{}
	for i, distro := range d.Distros {
		if !distroForm.MatchString(distro.Name) {
			return Description{}, broke(RuleDescribeDistros, "a distro has a plain lower-case name", fmt.Sprintf("distros[%d].name is %q", i, distro.Name))
		}
		if seen[distro.Name] {
			return Description{}, broke(RuleDescribeDistros, "a distro is listed once", fmt.Sprintf("%q is listed twice", distro.Name))
		}
		seen[distro.Name] = true
		if err := atMost(distro.Name+".releases", len(distro.Releases), maxReleases); err != nil {
			return Description{}, err
		}
		d.Distros[i].Title = Clean(distro.Title, 256)
		d.Distros[i].DefaultRelease = Clean(distro.DefaultRelease, 64)
		cleanAll(distro.Releases, 64)
		cleanAll(distro.Architectures, 64)
	}
	for i, tool := range d.Tools {
		d.Tools[i].Purpose = Clean(tool.Purpose, MaxText)
		cleanAll(tool.AnyOf, 256)
		cleanAll(tool.Distros, 64)
		d.Tools[i].Packages = cleanMap(tool.Packages, 256)
	}
	for i, o := range d.Options {
		d.Options[i].Name, d.Options[i].Default = Clean(o.Name, 64), Clean(o.Default, MaxText)
		d.Options[i].Help = Clean(o.Help, MaxText)
		cleanAll(o.Choices, 256)
	}
	return d, nil
}

// checkValidation also holds on to what a plugin has no business to change: the
// directories that it may write to, and the job.
func checkValidation(asked Request, v Validation) (Validation, error) {
	if err := atMost("diagnostics", len(v.Diagnostics), maxDiagnostics); err != nil {
		return Validation{}, err
	}
	for i, d := range v.Diagnostics {
		v.Diagnostics[i].Field = Clean(d.Field, 128)
		v.Diagnostics[i].Message = Clean(d.Message, MaxText)
		v.Diagnostics[i].Hint = Clean(d.Hint, MaxText)
	}
	r := &v.Resolved
	if err := atMost("resolved.packages", len(r.Packages), maxPackages); err != nil {
		return Validation{}, err
	}
	r.JobID, r.Distro = asked.JobID, asked.Distro
	r.Target, r.CacheDirectory, r.WorkDirectory = asked.Target, asked.CacheDirectory, asked.WorkDirectory
	r.Release, r.Architecture = Clean(r.Release, 128), Clean(r.Architecture, 64)
	r.Keyring = Clean(r.Keyring, MaxText)
	cleanAll(r.Mirrors, MaxText)
	cleanAll(r.Packages, 256)
	r.Options = cleanMap(r.Options, MaxText)
	// What is pinned, and to when, was asked for and is not the plugin's to say.
	r.Pinned, r.Snapshot, r.SourceDateEpoch = asked.Pinned, asked.Snapshot, asked.SourceDateEpoch
	return v, nil
}

func checkState(s State) (State, error) {
	if err := atMost("repository", len(s.Repository), maxReleases); err != nil {
		return State{}, err
	}
	return State{Engine: Clean(s.Engine, 256), Repository: cleanMap(s.Repository, 1024)}, nil
}

func checkPlan(p Plan) (Plan, error) {
	err := errors.Join(
		atMost("commands", len(p.Commands), maxCommands),
		atMost("packages", len(p.Packages), maxPackages),
	)
	if err != nil {
		return Plan{}, err
	}
	for _, argv := range p.Commands {
		if err := atMost("argv", len(argv), maxArguments); err != nil {
			return Plan{}, err
		}
		cleanAll(argv, 64<<10)
	}
	cleanAll(p.Packages, 256)
	return p, nil
}

// CheckFacts holds facts that come from elsewhere than a plugin that has just run
// to what those of one are held to, and returns them cleaned of what would move a
// terminal. They are a *ProtocolError if they name what the host could be led
// astray by, or have no end.
func CheckFacts(f Facts) (Facts, error) { return checkFacts(f) }

// checkFacts refuses names that the host could be led astray by: it uses them
// as arguments and file names while it is root.
func checkFacts(f Facts) (Facts, error) {
	if f.PackageManager != "" && !commandForm.MatchString(f.PackageManager) {
		return Facts{}, broke(RuleFactsNames, "package_manager is the name of a command", fmt.Sprintf("it is %q", f.PackageManager))
	}
	if f.ProbeHost != "" && (len(f.ProbeHost) > 253 || !hostForm.MatchString(f.ProbeHost)) {
		return Facts{}, broke(RuleFactsNames, "probe_host is the name of a host", fmt.Sprintf("it is %q", f.ProbeHost))
	}
	for field, units := range map[string][]string{
		"ssh_units": f.SSHUnits, "network_units": f.NetworkUnits,
		"resolver_units": f.ResolverUnits, "mask_units": f.MaskUnits,
	} {
		if err := atMost(field, len(units), maxUnits); err != nil {
			return Facts{}, err
		}
		for _, unit := range units {
			if !unitForm.MatchString(unit) || strings.Contains(unit, "..") {
				return Facts{}, broke(RuleFactsNames, field+" are names of units", fmt.Sprintf("%q is none", unit))
			}
		}
	}
	err := errors.Join(
		atMost("packages", len(f.Packages), maxPackages),
		atMost("os_release", len(f.OSRelease), maxFields),
	)
	if err != nil {
		return Facts{}, err
	}
	for i, p := range f.Packages {
		if p.SHA256 != "" && !digestForm.MatchString(p.SHA256) {
			return Facts{}, broke(RuleFactsNames, "a package's sha256 is 64 lower-case hexadecimal digits", fmt.Sprintf("%q is not", p.SHA256))
		}
		f.Packages[i] = Package{
			Name: Clean(p.Name, 256), Version: Clean(p.Version, 256), Architecture: Clean(p.Architecture, 64),
			Source: Clean(p.Source, 256), SourceVersion: Clean(p.SourceVersion, 256),
			License: Clean(p.License, 1024), SHA256: p.SHA256,
		}
	}
	f.OSRelease = cleanMap(f.OSRelease, 1024)
	return f, nil
}

// cleanAll cleans the strings of a list that nobody else holds.
func cleanAll(list []string, maxBytes int) {
	for i := range list {
		list[i] = Clean(list[i], maxBytes)
	}
}

func cleanMap(m map[string]string, maxBytes int) map[string]string {
	if m == nil {
		return nil
	}
	clean := make(map[string]string, len(m))
	for k, v := range m {
		clean[Clean(k, 256)] = Clean(v, maxBytes)
	}
	return clean
}
