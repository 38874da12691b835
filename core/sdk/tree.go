package sdk

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
)

// unitDirectories are where a tree has its units; see systemd.unit(5).
var unitDirectories = []string{"usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"}

// CheckTree compares a tree with the facts that a plugin reported of it, and
// returns each rule that it breaks. Without these there is nothing to boot or to
// log in to. Links are resolved as they would be inside the tree.
func CheckTree(root string, f Facts) []*ProtocolError {
	var all []*ProtocolError
	found := func(id, rule, format string, args ...any) {
		all = append(all, &ProtocolError{ID: id, Rule: rule, Detail: Clean(fmt.Sprintf(format, args...), 512)})
	}
	const release = "os_release is what the tree's os-release says"
	switch fields, err := ReadOSRelease(root); {
	case errors.Is(err, os.ErrNotExist):
		found(RuleFactsOSRelease, release, "the tree has no os-release")
	case err != nil:
		found(RuleFactsOSRelease, release, "the tree's os-release: %v", cause(err))
	case fields["ID"] == "":
		found(RuleFactsOSRelease, release, "the tree's os-release has no ID")
	case !maps.Equal(fields, f.OSRelease):
		found(RuleFactsOSRelease, release, "%s", differing(fields, f.OSRelease))
	}
	if !HasProgram(root, "sbin/init") && !HasProgram(root, "usr/lib/systemd/systemd") {
		found(RuleTreeInit, "a tree has an init", "neither /sbin/init nor /usr/lib/systemd/systemd is a program")
	}
	if len(f.SSHUnits) == 0 {
		found(RuleFactsSSH, "ssh_units names what starts sshd", "the plugin reported no unit for sshd")
	}
	if len(f.NetworkUnits) == 0 {
		found(RuleFactsNetwork, "network_units names what configures the network", "it is empty")
	}
	for _, units := range []struct {
		field string
		all   []string
	}{{"ssh_units", f.SSHUnits}, {"network_units", f.NetworkUnits}, {"resolver_units", f.ResolverUnits}} {
		for _, unit := range units.all {
			if !hasUnit(root, unit) {
				found(RuleFactsUnits, "the units that are reported are in the tree", "the tree has no unit %s, which %s names", unit, units.field)
			}
		}
	}
	return all
}

// HasProgram reports whether a tree has a file that can be executed.
func HasProgram(root, name string) bool {
	info, err := statInside(root, name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func hasUnit(root, unit string) bool {
	return slices.ContainsFunc(unitDirectories, func(dir string) bool {
		info, err := statInside(root, path.Join(dir, unit))
		return err == nil && info.Mode().IsRegular()
	})
}

func statInside(root, name string) (os.FileInfo, error) {
	handle, err := pathrs.OpenInRoot(root, name)
	if err != nil {
		return nil, err
	}
	defer handle.Close() //nolint:errcheck // only looked at
	return handle.Stat()
}

// differing names a field that is not the same in both.
func differing(tree, facts map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if facts[key] != tree[key] {
			return fmt.Sprintf("%s is %q in the tree and %q in the facts", key, tree[key], facts[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(facts)) {
		if _, known := tree[key]; !known {
			return fmt.Sprintf("%s is %q in the facts and not in the tree", key, facts[key])
		}
	}
	return "they differ"
}

// cause is the innermost error, without paths of the host's.
func cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
