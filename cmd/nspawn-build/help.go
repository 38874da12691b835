package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func init() { cli.FlagStringer = explain }

// explain is a flag as --help shows it: what is typed on one line, what that
// does below, so that it fits on a terminal however long either is.
func explain(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "--" + f.Names()[0]
	}
	placeholder, usage := unquote(doc.GetUsage())
	var names []string
	for _, n := range f.Names() {
		names = append(names, dashed(n))
	}
	typed := strings.Join(names, ", ")
	if doc.TakesValue() {
		typed += " " + placeholder
	}
	if text := doc.GetDefaultText(); text != "" && doc.TakesValue() && !strings.Contains(usage, "(default:") && text != "0" {
		usage += fmt.Sprintf(" (default: %s)", strings.Trim(text, `"`))
	}
	if vars := doc.GetEnvVars(); len(vars) > 0 {
		usage += " [$" + strings.Join(vars, ", $") + "]"
	}
	const indent = "\n       "
	return typed + wrap(usage, 72, indent)
}

// unquote finds the placeholder of a flag, which its usage has in backticks.
func unquote(usage string) (placeholder, text string) {
	_, rest, ok := strings.Cut(usage, "`")
	placeholder, _, closed := strings.Cut(rest, "`")
	if !ok || !closed {
		return "VALUE", usage
	}
	return placeholder, strings.ReplaceAll(usage, "`", "")
}

// wrap breaks text into lines of at most width, each after indent.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	length := width
	for _, word := range strings.Fields(text) {
		if length += 1 + len(word); length > width {
			b.WriteString(indent)
			length = len(word)
		} else {
			b.WriteString(" ")
		}
		b.WriteString(word)
	}
	return b.String()
}

// grouped puts flags under a heading of --help.
func grouped(heading string, flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			f.Category = heading
		case *cli.StringSliceFlag:
			f.Category = heading
		case *cli.BoolFlag:
			f.Category = heading
		case *cli.IntFlag:
			f.Category = heading
		case *cli.DurationFlag:
			f.Category = heading
		}
	}
	return flags
}
