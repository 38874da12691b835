package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// check makes sure that all is installed that was asked for, whatever pacstrap
// said: interrupted, it has been seen to end with 0 and 4 of 107 packages.
func (r *run) check(ctx context.Context) ([]entry, error) {
	entries, err := r.tree.installed()
	if err != nil {
		return nil, unfinished(err.Error())
	}
	packages, groups, missing := sortOut(r.job.packages, entries)
	if len(missing) > 0 {
		return nil, unfinished("pacstrap said it was done, but has not installed " + strings.Join(missing, ", "))
	}
	for _, group := range groups {
		members, err := r.output(ctx, r.members(group))
		if err != nil {
			return nil, r.explain(sdk.AsFailure(err))
		}
		for _, line := range members {
			_, member, ok := strings.Cut(line, " ")
			if ok && !hasPackage(entries, member) {
				return nil, unfinished(fmt.Sprintf("pacstrap said it was done, but of the group %s it has not installed %s", group, member))
			}
		}
	}
	// pacman's own view, which is what counts for it later on.
	for _, argv := range [][]string{r.query(packages), r.checkDatabase()} {
		if lines, err := r.output(ctx, argv); err != nil {
			failure := sdk.AsFailure(err)
			if failure.Code == sdk.CodeCanceled {
				return nil, failure
			}
			said := unfinished("pacstrap said it was done, but pacman finds the installation incomplete")
			said.Tail = lines
			return nil, said
		}
	}
	return entries, nil
}

func hasPackage(entries []entry, name string) bool {
	for _, e := range entries {
		if e.Name == name {
			return true
		}
	}
	return false
}

func unfinished(message string) *sdk.Failure {
	return &sdk.Failure{
		Code: sdk.CodeTool, Message: message,
		Hint: "try again: something may have interrupted pacman",
	}
}

// checkRelease makes sure that the tree is what was asked for: a mirror may
// have anything under a name.
func (r *run) checkRelease(fields map[string]string) error {
	if fields["ID"] == osID[r.machine] {
		return nil
	}
	return &sdk.Failure{
		Code:    sdk.CodeMirror,
		Message: fmt.Sprintf("the mirror has %q, not %q: that is what ID in its os-release says", fields["ID"], osID[r.machine]),
		Hint:    "use another --mirror",
	}
}

// facts describes the tree.
func (r *run) facts(entries []entry) (sdk.Facts, error) {
	fields, err := sdk.ReadOSRelease(r.target)
	if err != nil {
		return sdk.Facts{}, err
	}
	if err := r.checkRelease(fields); err != nil {
		return sdk.Facts{}, err
	}
	facts := sdk.Facts{
		OSRelease:      fields,
		SSHUnits:       r.tree.Units("sshd.service"),
		NetworkUnits:   r.tree.Units("systemd-networkd.service"),
		ResolverUnits:  r.tree.Units("systemd-resolved.service"),
		PackageManager: "pacman",
		MaskUnits:      r.tree.Units(disturbing...),
	}
	for _, mirror := range r.mirrors {
		if facts.ProbeHost = dnsName(mirror); facts.ProbeHost != "" {
			break
		}
	}
	for _, e := range entries {
		if e.SHA256, err = r.digest(e.Package); err != nil {
			return sdk.Facts{}, err
		}
		facts.Packages = append(facts.Packages, e.Package)
	}
	return facts, sdk.CheckPinned(r.pinned, facts.Packages)
}

// digest is that of the file that a package came in, which pacman has verified.
// It is empty for one of a mirror in a directory, which pacman reads there.
func (r *run) digest(p sdk.Package) (string, error) {
	pattern := p.Name + "-" + p.Version + "-" + p.Architecture + ".pkg.tar*"
	for _, directory := range r.packageD {
		files, err := filepath.Glob(filepath.Join(directory, pattern))
		if err != nil {
			return "", err
		}
		files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, ".sig") })
		if len(files) == 0 {
			continue
		}
		digest, err := sdk.FileSHA256(files[0])
		if err != nil {
			return "", fmt.Errorf("package cache: %w", err)
		}
		return digest, nil
	}
	return "", nil
}

// disturbing are units that fail in a machine without a terminal: this one asks
// questions on the console at the first boot.
var disturbing = []string{"systemd-firstboot.service"}
