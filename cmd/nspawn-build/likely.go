package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// didYouMean is a hint about a word that is not known: the one of known that it
// is most like, and else what there is to say anyway.
func didYouMean(word string, known []string, hint string) string {
	if like := spec.Nearest(word, known); like != "" {
		return "did you mean " + like + "?"
	}
	return hint
}

// namesOf are the commands that users know of.
func namesOf(all []*cli.Command) []string {
	names := make([]string, 0, len(all))
	for _, s := range commands(all) {
		names = append(names, s.word)
	}
	return names
}

// likelyFlag is a hint about a flag that the command does not have.
func likelyFlag(word string, c *cli.Command, hint string) string {
	var names []string
	for _, s := range flagsOf(c) {
		names = append(names, strings.TrimPrefix(s.word, "--"))
	}
	if like := spec.Nearest(word, names); like != "" {
		return "did you mean --" + like + "?"
	}
	return hint
}

// dashed is a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
