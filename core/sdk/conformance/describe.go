package conformance

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

const methodDescribe = pb.BootstrapService_Describe_FullMethodName

var describeRules = []Rule{
	{
		ID: RuleDescribeAnswers, Group: GroupDescribe,
		Says: "Describe answers at once, and always with the same.",
		Why:  "It is asked before every other call and by `plugin list`, on hosts without a network and without the plugin's tools.",
		Meet: "Return what is known when the plugin is built and what a file of the host's says. Ask no mirror, run no tool that may take long, and fail for nothing. Serve nspawnbuild.bootstrap.v1.BootstrapService by that very name.",

		check: describesItself,
	},
	{
		ID: sdk.RuleDescribeName, Group: GroupDescribe,
		Says: "Its name is " + sdk.PluginNames + ".",
		Why:  "It becomes part of paths and of messages, and of the name of its file, which is not looked at where it has another form.",
		Meet: "Name the plugin after the tool that it runs: pacstrap, zypper. The names of distros are another matter: those may have dots and underscores.",

		check: host((*exam).describe),
	},
	{
		ID: "describe-version", Group: GroupDescribe,
		Says: "It has a version in semantic versioning, and says that it speaks protocol 1.x.",
		Why:  "They are what a bug report, plugins.lock and an update go by.",
		Meet: "Set version to MAJOR.MINOR.PATCH and protocol to 1.1 or what else it was written for; with the SDK, Serve sets protocol.",

		check: described(func(e *exam) (seen []string) {
			if !versionForm.MatchString(e.described.Version) {
				seen = append(seen, fmt.Sprintf("version is %q", e.described.Version))
			}
			if !protocolForm.MatchString(e.described.Protocol) {
				seen = append(seen, fmt.Sprintf("protocol is %q", e.described.Protocol))
			}
			return seen
		}),
	},
	{
		ID: sdk.RuleDescribeDistros, Group: GroupDescribe,
		Says: "It makes at least one distro; each has a name of lower-case letters, digits, dots, dashes and underscores, at most 64, that occurs once, a title, releases, a default among them, and architectures as `uname -m` prints them.",
		Why:  "That is all that a user gets to see before asking for a machine: `plugin list`, completion, and the default of --release.",
		Meet: "Fill in every field of every distro; where there is one rolling release, give it a name.",

		check: described((*exam).distrosAreWhole),
	},
	{
		ID: "describe-tools", Group: GroupDescribe,
		Says: "Every tool that it needs has a purpose, and a package in each family of hosts that the plugin works on.",
		Why:  "`doctor` and create tell the user the very command that installs what is missing.",
		Meet: "List each tool in any_of, say in purpose what it does, and give packages for debian, arch and fedora. For a family that has none, leave that one out only when the plugin cannot work there at all.",

		check: described((*exam).toolsAreWhole),
	},
	{
		ID: "describe-options", Group: GroupDescribe,
		Says: "Every option has a name, a help, and a default that is among its choices where it has choices.",
		Why:  "The host refuses an option, or a choice, that is not described, before the plugin gets to see it.",
		Meet: "Describe every option with a line of help; when an option has choices and none is the default, make one that means the default, such as auto.",

		check: described((*exam).optionsAreWhole),
	},
	{
		ID: sdk.RuleListsBounded, Group: GroupDescribe,
		Says: "Lists are of a sane length: 64 distros, 256 releases, 256 diagnostics, 64 units, 50,000 packages; a message has at most 8 MiB.",
		Why:  "What is longer is a mistake, and would fill the memory of a program that runs as root.",
		Meet: "Send no more than that.",

		check: host((*exam).describe),
	},
	{
		ID: "text-clean", Group: GroupDescribe,
		Says: "Every text is one line of UTF-8 without control characters, of at most 4096 bytes.",
		Why:  "It is printed on the terminal of root. The host cleans it, and what was written for a terminal reads badly then.",
		Meet: "Take escape sequences and line ends out of a tool's output before it is passed on. sdk.Command and sdk.Clean do it.",

		check: host((*exam).describe), // what is seen is added at the end
	},
}

var (
	versionForm  = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$`)
	protocolForm = regexp.MustCompile(fmt.Sprintf(`^%d\.[0-9]+$`, sdk.ProtocolMajor))
	optionForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	machineForm  = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)
)

// described is a rule about what Describe has answered.
func described(look func(*exam) []string) check {
	return func(ctx context.Context, e *exam) outcome {
		if err := e.describe(ctx); err != nil {
			return skipped("%s", reason(err))
		}
		return of(look(e))
	}
}

func describesItself(ctx context.Context, e *exam) outcome {
	if err := e.describe(ctx); err != nil {
		return skipped("%s", reason(err))
	}
	s, err := e.start(ctx, Grants{}, &tap{})
	if err != nil {
		return seen("started again, it does not answer: %v", err)
	}
	defer s.Close() //nolint:errcheck // what it has answered counts
	again, err := sdk.NewClient(s.tap).Describe(ctx)
	if err != nil {
		return seen("asked again, it does not answer: %v", e.note(err))
	}
	if !reflect.DeepEqual(again, e.described.Description) {
		return seen("asked again, it says something else: %s", differences(e.described.Description, again))
	}
	return kept()
}

// differences names the fields in which two values of a struct differ.
func differences(a, b any) string {
	one, other := reflect.ValueOf(a), reflect.ValueOf(b)
	var names []string
	for i := range one.NumField() {
		if !reflect.DeepEqual(one.Field(i).Interface(), other.Field(i).Interface()) {
			names = append(names, fmt.Sprintf("%s was %s and is %s", one.Type().Field(i).Name,
				short(fmt.Sprint(one.Field(i).Interface())), short(fmt.Sprint(other.Field(i).Interface()))))
		}
	}
	return strings.Join(names, "; ")
}

func (e *exam) distrosAreWhole() (seen []string) {
	if len(e.described.Distros) == 0 {
		return []string{"distros is empty"}
	}
	for _, d := range e.described.Distros {
		say := func(format string, args ...any) { seen = append(seen, d.Name+": "+fmt.Sprintf(format, args...)) }
		if d.Title == "" {
			say("it has no title")
		}
		switch {
		case len(d.Releases) == 0:
			say("it has no releases")
		case d.DefaultRelease == "":
			say("it has no default release")
		case !slices.Contains(d.Releases, d.DefaultRelease):
			say("its default release %q is none of its releases", d.DefaultRelease)
		}
		if len(d.Architectures) == 0 {
			say("it has no architectures")
		}
		for _, a := range d.Architectures {
			if !machineForm.MatchString(a) || a == "amd64" || a == "arm64" {
				say("%q is not how `uname -m` calls an architecture", a)
			}
		}
	}
	return seen
}

func (e *exam) toolsAreWhole() (seen []string) {
	for i, tool := range e.described.Tools {
		say := func(format string, args ...any) {
			seen = append(seen, fmt.Sprintf("tools[%d] %s: ", i, strings.Join(tool.AnyOf, " or "))+fmt.Sprintf(format, args...))
		}
		if len(tool.AnyOf) == 0 || slices.Contains(tool.AnyOf, "") {
			say("it names no program")
		}
		if tool.Purpose == "" {
			say("it has no purpose")
		}
		if len(tool.Packages) == 0 {
			say("no package brings it, on any host")
		}
		for _, name := range tool.Distros {
			if !slices.ContainsFunc(e.described.Distros, func(d sdk.Distro) bool { return d.Name == name }) {
				say("%q is none of the plugin's distros", name)
			}
		}
	}
	return seen
}

func (e *exam) optionsAreWhole() (seen []string) {
	names := map[string]bool{}
	for _, o := range e.described.Options {
		say := func(format string, args ...any) { seen = append(seen, o.Name+": "+fmt.Sprintf(format, args...)) }
		if !optionForm.MatchString(o.Name) {
			say("%q is not a plain lower-case name", o.Name)
		}
		if names[o.Name] {
			say("it is described twice")
		}
		names[o.Name] = true
		if o.Help == "" {
			say("it has no help")
		}
		if len(o.Choices) > 0 && !slices.Contains(o.Choices, o.Default) {
			say("its default %q is none of its choices", o.Default)
		}
	}
	return seen
}
