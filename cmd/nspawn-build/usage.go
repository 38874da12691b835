package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// usageError is a command line that cannot be understood.
type usageError struct {
	problem string
	hint    string
}

func (e *usageError) Error() string { return e.problem }

// onUsageError turns what the flag parser says into words of ours.
func onUsageError(ctx *cli.Context, err error, _ bool) error {
	hint := "nspawn-build --help lists the commands"
	command := ctx.Command
	if command != nil && command.Name != "" && command.Name != ctx.App.Name {
		hint = command.HelpName + " --help lists the flags"
	}
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = "there is no flag " + dashed(flag)
		if command != nil {
			hint = likelyFlag(flag, command, hint)
		}
		return &usageError{text, hint}
	}
	if command == nil {
		return &usageError{text, hint}
	}
	if m := badValue.FindStringSubmatch(text); m != nil {
		if problem, form := formOf(flagOf(command, m[2])); form != "" {
			return &usageError{m[2] + ": " + m[1] + " " + problem, form}
		}
	}
	if m := badVariable.FindStringSubmatch(text); m != nil {
		problem, form := formOf(flagOf(command, m[3]))
		if _, is := flagOf(command, m[3]).(*cli.BoolFlag); is {
			form = "use true or false"
		}
		if form != "" {
			return &usageError{m[3] + ": " + m[1] + " of $" + m[2] + " " + problem, form}
		}
	}
	return &usageError{text, hint}
}

// How the flag parser says that a value is not of a flag's type.
var (
	badValue    = regexp.MustCompile(`^invalid (?:boolean )?value ("(?:[^"\\]|\\.)*") for (?:flag )?-(\S+): `)
	badVariable = regexp.MustCompile(`^could not parse ("(?:[^"\\]|\\.)*") as \w+ value from environment variable "(\w+)" for flag (\S+): `)
)

// formOf says what is wrong with a value that is not of a flag's type, and what
// one looks like that is; empty for what takes any text.
func formOf(f cli.Flag) (problem, form string) {
	switch f.(type) {
	case *cli.DurationFlag:
		return "is not a time", "use 90s, 5m or 2h, say"
	case *cli.IntFlag:
		return "is not a whole number", "use a number such as 4"
	case *cli.BoolFlag:
		return "is neither true nor false", "write --" + f.Names()[0] + " alone, or --" + f.Names()[0] + "=false"
	}
	return "", ""
}

// nameMissing gives the error that a line names no machine the hint that is the
// command's own. The rest of an error stays as it is.
func nameMissing(ctx *cli.Context, err error) error {
	var bad spec.Invalid
	if ctx.Command.Name == "create" || ctx.Command.Name == "plan" || !errors.As(err, &bad) {
		return err
	}
	for _, e := range bad {
		if e.Field == "name" && e.Value == "" {
			e.Hint = fmt.Sprintf("%s %s; nspawn-build list shows the machines", ctx.Command.HelpName, ctx.Command.ArgsUsage)
			if ctx.Command.Name == "image" {
				e.Hint = "name the image: " + ctx.Command.HelpName + " --distro debian " + ctx.Command.ArgsUsage
			}
		}
	}
	return err
}
