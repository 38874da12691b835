package misbehave

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// plugin is a plugin that does as it should, apart from what its mode is. What it
// makes is no system, but looks like one.
type plugin struct{ mode Mode }

const release = "1"

var architectures = []string{"x86_64", "aarch64"}

var colours = sdk.Option{Name: "colour", Help: "what it looks like", Choices: []string{"red", "blue"}, Default: "red"}

// Describe implements sdk.Plugin.
func (p plugin) Describe(context.Context) (sdk.Description, error) {
	d := sdk.Description{
		Name: p.mode.Name, Version: "1.0.0", Protocol: sdk.Protocol,
		Distros: []sdk.Distro{{
			Name: p.mode.Distro(), Title: "An OS", Releases: []string{release}, DefaultRelease: release, Architectures: architectures,
		}},
		Tools:   []sdk.ToolNeed{{AnyOf: []string{"true"}, Purpose: "does nothing", Packages: map[string]string{sdk.FamilyDebian: "coreutils"}}},
		Options: []sdk.Option{colours},
	}
	if p.mode.describe != nil {
		p.mode.describe(&d)
	}
	return d, nil
}

var plainForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]{0,63}$`)

// resolve looks at a request.
func (p plugin) resolve(req sdk.Request) (sdk.Request, *sdk.Findings) {
	found := &sdk.Findings{}
	req.Options = found.Options([]sdk.Option{colours}, req.Options)
	if req.Release == "" {
		req.Release = release
	}
	if req.Release != release {
		found.Refuse("release", sdk.Quoted(req.Release)+" is none", "use "+release)
	}
	if req.Architecture == "" {
		req.Architecture = sdk.ThisHost().Machine
	}
	if !slices.Contains(architectures, req.Architecture) {
		found.Refuse("architecture", sdk.Quoted(req.Architecture)+" is none", "use "+strings.Join(architectures, " or "))
	}
	for _, name := range req.Packages {
		if !plainForm.MatchString(name) {
			found.Refuse("packages", sdk.Quoted(name)+" is none", "use git, say")
		}
	}
	for _, mirror := range req.Mirrors {
		if !strings.HasPrefix(mirror, "https://") || sdk.Clean(mirror, sdk.MaxText) != mirror {
			found.Refuse("mirrors", sdk.Quoted(mirror)+" is none", "use https://example.org/")
		}
	}
	if info, err := os.Stat(req.Keyring); req.Keyring != "" && (!filepath.IsAbs(req.Keyring) || err != nil || !info.Mode().IsRegular()) {
		found.Refuse("keyring", sdk.Quoted(req.Keyring)+" is none", "name a file of keys")
	}
	if p.mode.credulous {
		return req, &sdk.Findings{}
	}
	return req, found
}

// Validate implements sdk.Plugin.
func (p plugin) Validate(_ context.Context, req sdk.Request) (sdk.Validation, error) {
	if p.mode.validate != nil {
		p.mode.validate(req)
	}
	resolved, found := p.resolve(req)
	return sdk.Validation{Diagnostics: found.Diagnostics(), Resolved: resolved}, nil
}

// Plan implements sdk.Plugin.
func (p plugin) Plan(_ context.Context, req sdk.Request) (sdk.Plan, error) {
	if p.mode.plan != nil {
		if err := p.mode.plan(req); err != nil {
			return sdk.Plan{}, err
		}
	}
	_, found := p.resolve(req)
	return sdk.Plan{Commands: [][]string{{"true", "TARGET"}}}, found.Err()
}

// Bootstrap implements sdk.Plugin.
func (p plugin) Bootstrap(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	req.Mirrors = nil
	_, found := p.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.Facts{}, err
	}
	to.Phase("unpack")
	if p.mode.bootstrap != nil {
		if err := p.mode.bootstrap(ctx, req, to); err != nil {
			return sdk.Facts{}, err
		}
	}
	if err := sdk.CheckTarget(req.Target); err != nil {
		return sdk.Facts{}, err
	}
	for done := range uint64(3) {
		to.Progress(sdk.Progress{Done: done, Total: 2, Unit: "packages"})
	}
	to.Line("unpacked")
	// Long enough to be cancelled.
	select {
	case <-ctx.Done():
		return sdk.Facts{}, ctx.Err()
	case <-time.After(100 * time.Millisecond):
	}
	facts, err := plant(req.Target)
	if err == nil && p.mode.tree != nil {
		err = p.mode.tree(req.Target, &facts)
	}
	return facts, err
}

const osRelease = "ID=an-os\nNAME=\"An OS\"\nVERSION_ID=1\n"

// file is one of the tree.
type file struct {
	name string
	text string
	mode os.FileMode
}

var files = []file{
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644},
	{"etc/group", "root:x:0:\n", 0o644},
	{"etc/shadow", "root:*:20000:0:99999:7:::\n", 0o600},
	{"etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n", 0o644},
	{"usr/lib/os-release", osRelease, 0o644},
	{"usr/lib/systemd/systemd", "#!/bin/sh\n", 0o755},
	{"usr/lib/systemd/system/sshd.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n[Install]\nWantedBy=multi-user.target\n", 0o644},
	{"usr/lib/systemd/system/systemd-networkd.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n", 0o644},
	{"usr/sbin/sshd", "#!/bin/sh\n", 0o755},
	{"usr/bin/an-pm", "#!/bin/sh\n", 0o755},
}

// plant makes the tree.
func plant(root string) (sdk.Facts, error) {
	for _, dir := range []string{"etc/systemd/system", "etc/systemd/network", "root", "run", "tmp", "var/tmp", "proc", "sys", "dev", "var/lib/systemd"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return sdk.Facts{}, err
		}
	}
	for _, f := range files {
		if err := write(root, f); err != nil {
			return sdk.Facts{}, err
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return sdk.Facts{}, err
	}
	fields, err := sdk.ReadOSRelease(root)
	return sdk.Facts{
		OSRelease: fields, PackageManager: "an-pm",
		SSHUnits: []string{"sshd.service"}, NetworkUnits: []string{"systemd-networkd.service"},
		Packages: []sdk.Package{{Name: "a", Version: "1"}, {Name: "b", Version: "2"}},
	}, err
}

func write(root string, f file) error {
	path := filepath.Join(root, f.name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(f.text), f.mode); err != nil {
		return err
	}
	return os.Chmod(path, f.mode)
}
