package main

import (
	"context"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// version is the plugin's own.
const version = "1.0.0"

// plugin implements sdk.Plugin.
type plugin struct{ host host }

func newPlugin() *plugin { return &plugin{host: thisHost()} }

// distros are the ones that the plugin makes.
var distros = []string{release.Debian, release.Ubuntu}

// The tools, in order of preference.
const (
	engineAuto        = "auto"
	engineMmdebstrap  = "mmdebstrap"
	engineDebootstrap = "debootstrap"
)

// The options that a request may carry.
const (
	optionEngine     = "engine"
	optionVariant    = "variant"
	optionComponents = "components"
	optionUpdates    = "updates"
	optionSecurity   = "security-mirror"
	optionUnknown    = "unknown-release"
)

var options = []sdk.Option{
	{
		Name: optionEngine, Default: engineAuto,
		Help:    "the tool to use; both make the same tree, mmdebstrap in half the time",
		Choices: []string{engineAuto, engineMmdebstrap, engineDebootstrap},
	},
	{
		Name: optionVariant, Default: "minimal",
		Help:    "minimal is what a reachable machine needs; standard adds ps, ping, curl, less and an editor",
		Choices: []string{"minimal", "standard"},
	},
	{
		Name: optionComponents,
		Help: "the archive's components, separated by commas; main for Debian, main,universe for Ubuntu",
	},
	{
		Name: optionUpdates, Default: "on", Choices: []string{"on", "off"},
		Help: "whether the RELEASE-updates suite is used",
	},
	{
		Name: optionSecurity, Default: "auto",
		Help: "where security updates come from: auto, none or a URI",
	},
	{
		Name: optionUnknown, Default: "refuse", Choices: []string{"refuse", "allow"},
		Help: "what to do about a release that this host has never heard of",
	},
}

// Describe implements sdk.Plugin.
func (p *plugin) Describe(context.Context) (sdk.Description, error) {
	d := sdk.Description{
		Name:     "debootstrap",
		Version:  version,
		Options:  slices.Clone(options),
		Features: []string{sdk.FeatureSnapshot, sdk.FeatureReproducible, sdk.FeaturePin},
		Tools: []sdk.ToolNeed{{
			AnyOf:   []string{engineMmdebstrap, engineDebootstrap},
			Purpose: "installs Debian and Ubuntu into a directory",
			Packages: map[string]string{
				sdk.FamilyDebian: "mmdebstrap", sdk.FamilyArch: "debootstrap", sdk.FamilyFedora: "debootstrap",
			},
			Distros: distros,
		}},
	}
	titles := map[string]string{release.Debian: "Debian", release.Ubuntu: "Ubuntu"}
	for _, distro := range distros {
		known := p.host.releases(distro)
		d.Distros = append(d.Distros, sdk.Distro{
			Name:           distro,
			Title:          titles[distro],
			Releases:       known.Names(),
			DefaultRelease: known.Default(),
			Architectures:  p.host.architectures(),
		})
	}
	return d, nil
}

// Validate implements sdk.Plugin.
func (p *plugin) Validate(_ context.Context, req sdk.Request) (sdk.Validation, error) {
	j, found := p.host.resolve(req)
	return sdk.Validation{Diagnostics: found.Diagnostics(), Resolved: j.resolved(req)}, nil
}

// Plan implements sdk.Plugin.
func (p *plugin) Plan(_ context.Context, req sdk.Request) (sdk.Plan, error) {
	j, found := p.host.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.Plan{}, err
	}
	j.place("TARGET", "WORK")
	if len(j.archives) == 0 {
		j.archives = []archive{{}} // the tool's own choice
	}
	return sdk.Plan{
		Commands:       j.commands(j.archives[0]),
		Packages:       slices.Clone(j.packages),
		EstimatedBytes: estimatedBytes,
	}, nil
}

// estimatedBytes is what the machine takes without packages of the user's, as
// du measures it: 177 MiB for Debian 13, rounded up.
const estimatedBytes = 200 << 20
