package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// parsePackage reads a line of listPackages.
func parsePackage(line string) (sdk.Package, bool) {
	fields := strings.SplitN(line, "|", 5)
	// The keys that rpm trusts are kept as packages, of no architecture.
	if len(fields) != 5 || fields[0] == "" || fields[0] == "gpg-pubkey" {
		return sdk.Package{}, false
	}
	p := sdk.Package{
		Name: fields[0], Version: strings.TrimPrefix(fields[1], "0:"), Architecture: fields[2], License: fields[4],
	}
	p.Source, p.SourceVersion = sourceOf(fields[3])
	return p, true
}

// sourceForm is the name of a source package's file.
var sourceForm = regexp.MustCompile(`^(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm$`)

func sourceOf(file string) (name, version string) {
	if m := sourceForm.FindStringSubmatch(file); m != nil {
		return m[1], m[2]
	}
	return "", ""
}

// digest notes the digests of the files that the packages came in, which dnf
// has compared with the index of their repository.
func (r *run) digest(packages []sdk.Package) error {
	files, err := filepath.Glob(filepath.Join(r.downloadsPath(), "*", "packages", "*.rpm"))
	if err != nil {
		return err
	}
	byName := map[string]string{}
	for _, file := range files {
		byName[filepath.Base(file)] = file
	}
	for i, p := range packages {
		file, ok := byName[fileName(p)]
		if !ok {
			continue // of a repository in a directory: dnf reads it where it is
		}
		if packages[i].SHA256, err = sdk.FileSHA256(file); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
	}
	return nil
}

// fileName is the name of a package's file.
func fileName(p sdk.Package) string {
	return p.Name + "-" + withoutEpoch(p.Version) + "." + p.Architecture + ".rpm"
}

// verify looks at the tree's database, whatever dnf said: are the packages there
// that were asked for, and will the tree's own rpm find them?
func (r *run) verify(ctx context.Context) ([]sdk.Package, error) {
	var packages []sdk.Package
	err := r.ask(ctx, r.listPackages(), func(line string) {
		if p, ok := parsePackage(line); ok {
			packages = append(packages, p)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(packages, func(a, b sdk.Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Architecture, b.Architecture), strings.Compare(a.Version, b.Version))
	})
	missing := missingPackages(r.packages, packages)
	if len(missing) > 0 {
		// What is asked for may be another name of what is installed.
		if missing, err = r.notProvided(ctx, missing); err != nil {
			return nil, err
		}
	}
	if len(missing) > 0 {
		return nil, &sdk.Failure{
			Code:    sdk.CodeTool,
			Message: r.engine.program + " said it was done, but has not installed " + list(missing),
			Hint:    "try again; if it stays so, try --option " + optionEngine + "= with the other dnf",
		}
	}
	if err := r.checkTree(ctx); err != nil {
		return nil, err
	}
	r.trimDownloads(packages)
	return packages, r.digest(packages)
}

// withoutEpoch is the version and release of a package, as in the name of its
// file.
func withoutEpoch(version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		return rest
	}
	return version
}

// missingPackages lists those of the asked for packages that are not there under
// that name, with a version or an architecture after it or not.
func missingPackages(asked []string, packages []sdk.Package) []string {
	names := map[string]bool{}
	for _, p := range packages {
		version := withoutEpoch(p.Version)
		bare := version[:max(strings.LastIndexByte(version, '-'), 0)]
		for _, name := range []string{p.Name, p.Name + "-" + bare, p.Name + "-" + version} {
			names[name], names[name+"."+p.Architecture] = true, true
		}
	}
	return slices.DeleteFunc(slices.Clone(asked), func(name string) bool { return names[name] })
}

// notProvided lists those names that no package provides.
func (r *run) notProvided(ctx context.Context, names []string) ([]string, error) {
	var missing []string
	for _, name := range names {
		err := r.ask(ctx, r.listProviders(name), nil)
		var failure *sdk.Failure
		switch {
		case err == nil:
		case errors.As(err, &failure) && failure.Code == sdk.CodeTool:
			missing = append(missing, name)
		default:
			return nil, err
		}
	}
	return missing, nil
}

// checkTree makes sure that the tree's own rpm finds the database.
func (r *run) checkTree(ctx context.Context) error {
	err := r.ask(ctx, r.askTree(), nil)
	var failure *sdk.Failure
	if errors.As(err, &failure) && failure.Code == sdk.CodeTool {
		return &sdk.Failure{
			Code:    sdk.CodeTool,
			Message: "the rpm in the tree does not know what is installed in it",
			Hint:    "this plugin puts the database in " + r.distro.dbPath(r.release) + ": the packages of the mirror look for it elsewhere",
			Tail:    failure.Tail,
		}
	}
	return err
}
