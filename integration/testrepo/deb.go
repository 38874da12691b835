package testrepo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// parallel is how many packages are worked on at once.
const parallel = 2

// deb is a Debian package, by its control file (deb-control(5)).
type deb struct {
	path, name, arch, version, summary, homepage string
	depends                                      [][]relation // Pre-Depends and Depends; each needs one of its alternatives
	provides                                     []string
}

// relation is what a dependency asks for: a name, and maybe a version.
type relation struct{ name, op, version string }

// controlFields are those that are read, in that order.
var controlFields = []string{"Package", "Architecture", "Version", "Description", "Homepage", "Pre-Depends", "Depends", "Provides"}

// readDebs reads the packages in a directory, by name.
func readDebs(ctx context.Context, dir string) (map[string]deb, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, fmt.Errorf("look for packages: %w", err)
	}
	found := make([]deb, len(paths))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, path := range paths {
		group.Go(func() error {
			out, err := tool{}.run(ctx, "dpkg-deb", append([]string{"--field", path}, controlFields...)...)
			if err != nil {
				return err
			}
			found[i] = parseControl(out)
			found[i].path = path
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := map[string]deb{}
	for _, d := range found {
		all[d.name] = d
	}
	return all, nil
}

// debNames lists the packages in a directory by file name, which has their
// versions.
func debNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for packages: %w", err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all, nil
}

// parseControl reads a control file, of whose long fields only the first line
// is wanted.
func parseControl(text string) deb {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			fields[key] = strings.TrimSpace(value)
		}
	}
	d := deb{
		name: fields["Package"], arch: fields["Architecture"], version: fields["Version"],
		summary: fields["Description"], homepage: fields["Homepage"],
		depends: slices.Concat(parseRelations(fields["Pre-Depends"]), parseRelations(fields["Depends"])),
	}
	for _, group := range parseRelations(fields["Provides"]) {
		d.provides = append(d.provides, group[0].name)
	}
	return d
}

var relationForm = regexp.MustCompile(`^([a-z0-9.+-]+)(?::\w+)?\s*(?:\(\s*([<>=]+)\s*([^)\s]+)\s*\))?$`)

// parseRelations reads a field such as "a (>= 1) | b, c:any".
func parseRelations(field string) [][]relation {
	var all [][]relation
	for group := range strings.SplitSeq(field, ",") {
		var alternatives []relation
		for alternative := range strings.SplitSeq(group, "|") {
			if m := relationForm.FindStringSubmatch(strings.TrimSpace(alternative)); m != nil {
				alternatives = append(alternatives, relation{m[1], m[2], m[3]})
			}
		}
		if alternatives != nil {
			all = append(all, alternatives)
		}
	}
	return all
}
