package main

import (
	"context"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/indexes"
)

// plugin implements sdk.Plugin and, so that trees are kept and used again,
// sdk.Stater.
type plugin struct{ host sdk.Host }

// distro is one distribution, under the ID of its os-release.
type distro struct {
	name, title string
	releases    []string // the newest first
	example     string   // of a mirror
}

// rolling is the release of Tumbleweed, which has only the newest.
const rolling = "rolling"

var distros = []distro{
	{"opensuse-tumbleweed", "openSUSE Tumbleweed", []string{rolling}, "https://mirror.example.org/tumbleweed/repo/oss"},
	{"opensuse-leap", "openSUSE Leap", []string{"16.0", "15.6"}, "https://mirror.example.org/distribution/leap/$releasever/repo/oss"},
}

var architectures = []string{"x86_64", "aarch64"}

// tools are what the plugin runs, and where they come from.
var tools = []sdk.ToolNeed{
	{
		AnyOf: []string{"zypper"}, Purpose: "installs openSUSE into a directory",
		Packages: map[string]string{sdk.FamilyDebian: "zypper", sdk.FamilyFedora: "zypper"},
	},
	{
		AnyOf: []string{"rpm"}, Purpose: "takes the keys, and tells what is installed",
		Packages: map[string]string{sdk.FamilyDebian: "rpm", sdk.FamilyArch: "rpm-tools", sdk.FamilyFedora: "rpm"},
	},
}

// Describe implements sdk.Plugin.
func (plugin) Describe(context.Context) (sdk.Description, error) {
	d := sdk.Description{Name: "zypper", Version: "0.1.0", Tools: tools}
	for _, known := range distros {
		d.Distros = append(d.Distros, sdk.Distro{
			Name: known.name, Title: known.title, Releases: known.releases, DefaultRelease: known.releases[0], Architectures: architectures,
		})
	}
	return d, nil
}

// Validate implements sdk.Plugin.
func (p plugin) Validate(_ context.Context, req sdk.Request) (sdk.Validation, error) {
	j, found := p.resolve(req)
	return sdk.Validation{Diagnostics: found.Diagnostics(), Resolved: j.Request}, nil
}

// Plan implements sdk.Plugin.
func (p plugin) Plan(_ context.Context, req sdk.Request) (sdk.Plan, error) {
	req.Target, req.WorkDirectory = "TARGET", "WORK" // there are none yet
	j, found := p.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.Plan{}, err
	}
	const roughly = 400 << 20 // what a machine takes without packages of the user's
	return sdk.Plan{Commands: j.commands(), Packages: j.wanted(), EstimatedBytes: roughly}, nil
}

// State implements sdk.Stater: the repomd.xml of a repository names, by digests,
// its lists of packages, and these every package.
func (p plugin) State(ctx context.Context, req sdk.Request) (sdk.State, error) {
	j, found := p.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.State{}, err
	}
	var all []indexes.Index
	for i, url := range j.urls {
		all = append(all, indexes.Index{Name: repositoryID(i), Digest: func(ctx context.Context, c *indexes.Client) (string, error) {
			return c.Of(ctx, strings.TrimRight(url, "/")+"/repodata/repomd.xml")
		}})
	}
	c := indexes.NewClient(nil)
	defer c.Close()
	holds, err := indexes.All(ctx, c, all)
	if err != nil {
		return sdk.State{}, err
	}
	engine := ""
	ask := sdk.Command{Argv: []string{"zypper", "--version"}, OnLine: func(line string) { engine = line }}
	if err := ask.Run(ctx); err != nil {
		return sdk.State{}, err
	}
	return sdk.State{Engine: engine, Repository: holds}, nil
}
