package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Everything that is wrong with a request is said at once, each with what would
// do instead.
func ExampleFindings() {
	req := sdk.Request{Release: "0.9", Options: map[string]string{"variant": "huge"}}

	var found sdk.Findings
	options := found.Options([]sdk.Option{
		{Name: "variant", Help: "how much of it", Choices: []string{"minimal", "standard"}, Default: "minimal"},
	}, req.Options)
	if req.Release != "1" && req.Release != "2" {
		found.Refuse("release", sdk.Quoted(req.Release)+" is not a release of My Linux", "use 2 or 1")
	}

	fmt.Println("variant:", options["variant"])
	for _, d := range found.Diagnostics() {
		fmt.Printf("%s: %s; %s\n", d.Field, d.Message, d.Hint)
	}
	// Output:
	// variant: minimal
	// options.variant: "huge" is none of its values; use minimal, standard
	// release: "0.9" is not a release of My Linux; use 2 or 1
}

// What the host lacks is told from what the user got wrong.
func ExampleFindings_Missing() {
	var found sdk.Findings
	if tool := sdk.FindTool("bootstrap-my-linux"); tool == "" {
		found.Missing("distro", "bootstrap-my-linux is not installed on this host",
			sdk.ThisHost().InstallHint(map[string]string{sdk.FamilyDebian: "my-linux-tools"}))
	}
	var failure *sdk.Failure
	fmt.Println(errors.As(found.Err(), &failure) && failure.Code == sdk.CodeHostNotReady)
	// Output: true
}

// A tool runs in a clean environment, and ends with everything that it has
// started when the context does. Its lines become events.
func ExampleCommand() {
	tool := sdk.Command{
		Argv:   []string{"sh", "-c", `echo "installing $1"; echo "done" >&2`, "sh", "base"},
		OnLine: func(line string) { fmt.Println("|", line) },
	}
	if err := tool.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// | installing base
	// | done
}

// What a tool last said is part of the failure.
func ExampleCommand_failure() {
	tool := sdk.Command{Argv: []string{"sh", "-c", "echo no such package: vmi; exit 3"}}
	failure := sdk.AsFailure(tool.Run(context.Background()))
	fmt.Println(failure.Message)
	fmt.Println(strings.Join(failure.Tail, "\n"))
	// Output:
	// sh failed with exit status 3
	// no such package: vmi
}

// Progress comes from a descriptor of its own where the tool has one for it.
func ExampleCommand_status() {
	tool := sdk.Command{
		Argv: []string{"sh", "-c", "for n in 1 2; do echo $n/2 >&3; done"},
		Status: func(line string) {
			done, total, _ := strings.Cut(line, "/")
			d, _ := strconv.ParseUint(done, 10, 64)
			t, _ := strconv.ParseUint(total, 10, 64)
			fmt.Printf("%+v\n", sdk.Progress{Done: d, Total: t, Unit: "packages"})
		},
	}
	if err := tool.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {Done:1 Total:2 Unit:packages Item:}
	// {Done:2 Total:2 Unit:packages Item:}
}

// What a machine is called is read from the tree that was made, whose links do
// not lead out of it.
func ExampleReadOSRelease() {
	tree, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(tree) //nolint:errcheck // an example
	if err := errors.Join(
		os.MkdirAll(tree+"/usr/lib", 0o755), os.Mkdir(tree+"/etc", 0o755),
		os.WriteFile(tree+"/usr/lib/os-release", []byte("ID=my-linux\nNAME=\"My Linux\"\n"), 0o644),
		os.Symlink("../usr/lib/os-release", tree+"/etc/os-release"),
	); err != nil {
		fmt.Println(err)
		return
	}
	fields, err := sdk.ReadOSRelease(tree)
	fmt.Println(fields["ID"], fields["NAME"], err)
	// Output: my-linux My Linux <nil>
}
