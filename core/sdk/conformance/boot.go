package conformance

import (
	"context"
	"errors"
	"slices"
	"strings"
)

var bootRules = []Rule{
	bootRule("booted", "The tree boots, and no unit fails.",
		"It is to be a machine.",
		"Install systemd, and mask with mask_units what fails in a container. The lines of its journal name the unit."),
	bootRule("address", "Its network has the address that it is given.",
		"It cannot be reached otherwise.",
		"Report in network_units what reads /etc/systemd/network, and install nothing else that configures the network."),
	bootRule("dns", "It resolves names.",
		"It installs packages by name.",
		"Install systemd-resolved with its NSS module and report it in resolver_units, or leave that empty, and /etc/resolv.conf is a file."),
	bootRule("sshd", "sshd answers and lets one log in with a key.",
		"It is how people get in.",
		"Install sshd, report its unit in ssh_units, and leave its configuration as the distribution has it."),
	bootRule("clean-stop", "It powers off when it is asked to.",
		"A machine that has to be killed loses what it was about to write.",
		"Look in the journal for the unit that does not stop."),
}

// boot is what came of booting what the plugin makes.
type boot struct {
	rungs []Rung
	err   error
}

// failed reports whether one of the rungs was not reached.
func (b *boot) failed() bool {
	return slices.ContainsFunc(b.rungs, func(r Rung) bool { return !r.OK && !r.Skipped })
}

const bootPrefix = "boot-"

func bootRule(name, says, why, meet string) Rule {
	return Rule{
		ID: bootPrefix + name, Group: GroupBoot, Says: says, Why: why, Meet: meet,
		check: func(ctx context.Context, e *exam) outcome {
			if e.Boot == nil {
				return skipped("nothing is booted; --boot does")
			}
			if err := e.climb(ctx); err != nil {
				return skipped("%s", reason(err))
			}
			for _, r := range e.booted.rungs {
				switch {
				case r.Name != name:
				case r.Skipped:
					return skipped("%s", r.Detail)
				case !r.OK:
					return of(append([]string{r.Detail}, quoted(r.Lines)...))
				default:
					return kept()
				}
			}
			if e.booted.failed() {
				return skipped("the machine did not come so far")
			}
			return seen("nothing was said of it")
		},
	}
}

func quoted(lines []string) (all []string) {
	if n := len(lines) - most + 2; n > 0 {
		lines = lines[n:]
	}
	for _, l := range lines {
		all = append(all, "| "+strings.TrimSpace(l))
	}
	return all
}

// climb boots what the plugin makes.
func (e *exam) climb(ctx context.Context) error {
	if e.booted != nil {
		return e.booted.err
	}
	if err := e.bootstrap(ctx); err != nil {
		return err
	}
	e.booted = &boot{}
	if e.made.err != nil {
		e.booted.err = errors.New("no tree was made")
		return e.booted.err
	}
	e.booted.rungs, e.booted.err = e.Boot(ctx, e.made.grants.Target, e.made.facts)
	return e.booted.err
}
