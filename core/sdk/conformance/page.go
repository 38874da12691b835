package conformance

import (
	"fmt"
	"strings"
)

// groups says what each group is about, in order.
var groups = []struct{ name, about string }{
	{GroupHandshake, "How the process starts. Only the real runner sees it: `plugin check`, or sdktest with a binary."},
	{GroupDescribe, "What the plugin says of itself, and how it says anything."},
	{GroupValidate, "What it answers to good and to bad requests. Nothing of this takes a mirror, unless the plugin asks one."},
	{GroupPlan, "What it says that it would do."},
	{GroupState, "For plugins with the feature `state`."},
	{GroupTolerance, "Living with a later nspawn-build."},
	{GroupRefusal, "A Bootstrap of what Validate refuses."},
	{GroupBootstrap, "A whole job. This and what follows takes a mirror, and is left out with `--offline`."},
	{GroupEvents, "What that job, and the one that is refused, say."},
	{GroupFacts, "What is reported of the tree that was made."},
	{GroupTree, "The tree itself."},
	{GroupCancel, "A job that is cancelled with its first event."},
	{GroupBoot, "With `--boot` only: the tree is booted as the image that it would become, in namespaces of its own, as [verify](verify.md) does."},
}

const preface = `# What a plugin keeps to

<!-- Written by a test from the rules themselves: SDKTEST_UPDATE=1 go test ./core/sdk/conformance -->

A distro plugin in any language is tried by one command, as root:

    nspawn-build plugin check ./nspawn-build-plugin-NAME

It runs the very binary as ` + "`create`" + ` would: enclosed, with a clean environment, speaking mutual TLS. The
binary need not be installed, and no plugins.lock need vouch for it, which is said loudly and recorded nowhere; but
it, and the directories on the way to it, can be written to by root alone, or by root and the user who called sudo. With ` + "`--boot`" + ` what it makes is
booted, too. ` + "`--distro --release --mirror --keyring --option --package`" + ` say what to try; the default is the
first distro with nothing but defaults. ` + "`--only`" + ` takes a rule or a group; ` + "`--offline`" + ` leaves out what
takes a mirror. ` + "`--output json`" + ` and ` + "`--junit FILE`" + ` are for machines. A rule that is broken is exit status 4.

In Go, the same rules are a test:

    func TestThePluginKeepsToTheRules(t *testing.T) {
        sdktest.Run(t, sdktest.Config{Plugin: newPlugin(), Offline: true})
    }

Without Offline it makes a tree and cancels another: run it as root, in sdktest.RunContained. With Binary in place of
Plugin it has ` + "`nspawn-build plugin check`" + ` do it.

The names of rules stay. Those that the host holds every plugin to at any time are marked *: a plugin that breaks one
is ended, and create with it, with exit status 4, a hint and nothing left behind. Of handshake-version, and of a file that is
not run because it was changed, can be written to by others or is for another architecture, the exit status is 3: what is installed on this host does
not belong there, and nothing was begun. What other rules forbid does the host no harm, but makes machines that are worse than they could be.
`

// Page is docs/conformance.md.
func Page() string {
	var b strings.Builder
	b.WriteString(preface)
	for _, group := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", group.name, group.about)
		for _, r := range Rules() {
			if r.Group != group.name {
				continue
			}
			mark := ""
			if held[r.ID] {
				mark = " *"
			}
			fmt.Fprintf(&b, "\n### %s%s\n\n%s\n\n- Why: %s\n- How: %s\n", r.ID, mark, r.Says, r.Why, r.Meet)
		}
	}
	return b.String()
}
