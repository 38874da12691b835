package main

import (
	"context"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// version is the plugin's own.
const version = "1.0.0"

// plugin implements sdk.Plugin.
type plugin struct{ host host }

func newPlugin() *plugin { return &plugin{host: thisHost()} }

// The values of the option engine.
const (
	engineAuto = "auto"
	engineFive = "dnf5"
	engineFour = "dnf"
)

// The options that a request may carry.
const (
	optionEngine     = "engine"
	optionVariant    = "variant"
	optionSignatures = "repository-signatures"
	optionUnknown    = "unknown-release"
)

var options = []sdk.Option{
	{
		Name: optionEngine, Default: engineAuto,
		Help:    "the tool to use: dnf5, or dnf for dnf 4; both make the same tree",
		Choices: []string{engineAuto, engineFive, engineFour},
	},
	{
		Name: optionVariant, Default: "minimal",
		Help:    "minimal is what a reachable machine needs; standard adds ps, ping, curl, less and an editor",
		Choices: []string{"minimal", "standard"},
	},
	{
		Name: optionSignatures, Default: "optional", Choices: []string{"optional", "required"},
		Help: "whether the index of a repository must be signed; packages always must, but Fedora signs no index",
	},
	{
		Name: optionUnknown, Default: "refuse", Choices: []string{"refuse", "allow"},
		Help: "what to do about a release that this plugin has never heard of; its keys are named with --keyring",
	},
}

// Describe implements sdk.Plugin.
func (p *plugin) Describe(context.Context) (sdk.Description, error) {
	d := sdk.Description{
		Name:     "dnf",
		Version:  version,
		Options:  slices.Clone(options),
		Features: []string{sdk.FeatureSnapshot, sdk.FeatureReproducible, sdk.FeaturePin},
		Tools: []sdk.ToolNeed{
			{
				AnyOf: []string{engineFive, engineFour}, Purpose: "installs Fedora and its relatives into a directory",
				Packages: dnfPackages,
			},
			{AnyOf: []string{"rpm"}, Purpose: "tells what is installed", Packages: rpmPackages},
			{AnyOf: []string{sysusers}, Purpose: "makes the users of packages", Packages: sysusersPackages},
		},
	}
	for _, known := range known {
		d.Distros = append(d.Distros, sdk.Distro{
			Name:           known.name,
			Title:          known.title,
			Releases:       slices.Clone(known.releases),
			DefaultRelease: known.standard,
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
	return sdk.Plan{
		Commands:       j.commands(),
		Packages:       slices.Clone(j.packages),
		EstimatedBytes: estimatedBytes,
	}, nil
}

// estimatedBytes is what the machine takes without packages of the user's,
// roughly: a Fedora with dnf5, systemd and sshd.
const estimatedBytes = 350 << 20
