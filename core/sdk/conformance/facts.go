package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

var factRules = []Rule{
	{
		ID: sdk.RuleFactsNames, Group: GroupFacts,
		Says: "The facts name units, a command, a host and digests, each in its form.",
		Why:  "The host uses them as file names and arguments while it is root.",
		Meet: "Report plain names: sshd.service, apt-get, mirror.example.org, 64 lower-case hexadecimal digits.",

		check: made(func(context.Context, *exam) outcome { return kept() }),
	},
	{
		ID: sdk.RuleFactsOSRelease, Group: GroupFacts,
		Says: "os_release is what the tree's os-release says, which has an ID.",
		Why:  "By it the machine is described, in its record, its image and its SBOM. systemd takes a directory without one for no system.",
		Meet: "Read it from the finished tree; sdk.ReadOSRelease does, without following links out of it.",

		check: intact(),
	},
	{
		ID: sdk.RuleFactsSSH, Group: GroupFacts,
		Says: "ssh_units names what makes sshd answer on port 22 once it is enabled.",
		Why:  "The host enables it, and a machine counts as made when one can log in.",
		Meet: "Install sshd with the base system and report its unit: ssh.service, sshd.service.",

		check: intact(),
	},
	{
		ID: sdk.RuleFactsNetwork, Group: GroupFacts,
		Says: "network_units names what configures the network once it is enabled.",
		Why:  "The host writes a .network file and enables these units; without them the machine has no address.",
		Meet: "Install systemd-networkd, which some distributions have as a package of its own, and report systemd-networkd.service.",

		check: intact(),
	},
	{
		ID: sdk.RuleFactsUnits, Group: GroupFacts,
		Says: "The units that are reported are in the tree.",
		Why:  "Enabling one that is not there fails, when the tree is already made.",
		Meet: "Look in the tree for what is there, and report that; target.Tree.Units does.",

		check: intact(),
	},
	{
		ID: "facts-packages", Group: GroupFacts,
		Says: "packages lists every package with name and version, sorted by name, each once.",
		Why:  "Of it are made the SBOM, the lock file and the comparison of two images.",
		Meet: "Ask the tree's own database of packages when all is done, and sort.",

		check: finished(func(_ context.Context, e *exam) outcome { return of(packagesAreListed(e.made.facts.Packages)) }),
	},
	{
		ID: "facts-package-manager", Group: GroupFacts,
		Says: "package_manager is a command that the tree has, or empty.",
		Why:  "People and scripts are told to use it.",
		Meet: "Report it only when its package is in the tree.",

		check: finished(func(_ context.Context, e *exam) outcome {
			name := e.made.facts.PackageManager
			for _, dir := range []string{"usr/bin", "usr/sbin", "bin", "sbin"} {
				if name == "" || sdk.HasProgram(e.made.grants.Target, dir+"/"+name) {
					return kept()
				}
			}
			return seen("the tree has no %s", name)
		}),
	},
}

// intact is a rule that sdk.CheckTree holds every tree to.
func intact() check {
	return finished(func(_ context.Context, e *exam) outcome {
		for _, broken := range sdk.CheckTree(e.made.grants.Target, e.made.facts) {
			e.breaks(broken.ID, broken.Detail)
		}
		return kept() // unless it is among them
	})
}

func packagesAreListed(all []sdk.Package) (seen []string) {
	if len(all) == 0 {
		return []string{"it is empty"}
	}
	if !slices.IsSortedFunc(all, func(a, b sdk.Package) int { return strings.Compare(a.Name, b.Name) }) {
		seen = append(seen, "it is not sorted by name")
	}
	once := map[string]bool{}
	for i, p := range all {
		if p.Name == "" || p.Version == "" {
			seen = append(seen, fmt.Sprintf("packages[%d] is %q in version %q", i, p.Name, p.Version))
		}
		// Of a kernel there may be several versions.
		key := p.Name + " " + p.Version + " " + p.Architecture
		if once[key] {
			seen = append(seen, key+" is listed twice")
		}
		once[key] = true
	}
	return seen
}
