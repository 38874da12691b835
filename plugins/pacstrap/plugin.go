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

// distro is the one that the plugin makes, and what its os-release has as ID on
// x86_64. On aarch64 that is archarm.
const distro = "arch"

// The options that a request may carry.
const (
	optionVariant   = "variant"
	optionDatabases = "database-signatures"
)

var options = []sdk.Option{
	{
		Name: optionVariant, Default: "minimal", Choices: []string{"minimal", "standard"},
		Help: "minimal is what a reachable machine needs; standard adds less, nano, sudo and which",
	},
	{
		Name: optionDatabases, Default: "optional", Choices: []string{"optional", "required"},
		Help: "whether the lists of packages must be signed as every package must; Arch Linux does not sign them",
	},
}

// Describe implements sdk.Plugin.
func (p *plugin) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name:     "pacstrap",
		Version:  version,
		Options:  slices.Clone(options),
		Features: []string{sdk.FeatureSnapshot, sdk.FeatureReproducible, sdk.FeaturePin},
		Tools:    toolNeeds(),
		Distros: []sdk.Distro{{
			Name: distro, Title: "Arch Linux",
			Releases: []string{rolling}, DefaultRelease: rolling,
			Architectures: p.host.architectures(),
		}},
	}, nil
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

// estimatedBytes is what base and openssh take on x86_64 as pacman counts it,
// rounded up.
const estimatedBytes = 700 << 20
