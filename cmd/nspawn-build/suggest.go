package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// suggestVerb is what the completion scripts call, followed by the words of the
// line up to the one that is being written. No machine can have that name.
const suggestVerb = "__complete"

// suggestion is one way to go on.
type suggestion struct {
	word string
	what string // a few words about it
}

// Words that stand for what a shell completes itself.
const (
	suggestFiles       = ":files"
	suggestDirectories = ":dirs"
)

// printSuggestions prints a suggestion a line: the word, a tab and what it is.
func printSuggestions(w io.Writer, all []suggestion) {
	for _, s := range all {
		what, _, _ := strings.Cut(s.what, "\n")
		fmt.Fprintf(w, "%s\t%s\n", s.word, strings.ReplaceAll(what, "`", ""))
	}
}

// onHost gives the names that a line can have for what is there now.
type onHost struct {
	machines func() []string
	distros  func() []string
}

// suggest says how the last of the words, which may be empty, may go on.
func suggest(app *cli.App, words []string, there onHost) []suggestion {
	words, split := rejoin(words)
	if len(words) == 0 {
		return nil
	}
	done, current := words[:len(words)-1], words[len(words)-1]
	command, done := commandOf(app, done)
	if command == nil {
		if strings.HasPrefix(current, "-") {
			command = app.Command("create") // nspawn-build --distro …
		} else {
			return startingWith(current, commands(app.Commands))
		}
	}
	if len(command.Subcommands) > 0 {
		return startingWith(current, commands(command.Subcommands))
	}
	flags, arguments, _ := part(done, command) // the last flag may have its value yet
	ended := slices.Contains(done, "--")
	if n := len(flags); n > 0 && !ended && done[len(done)-1] == flags[n-1] && takesValue(command, flags[n-1]) {
		return startingWith(current, values(flagOf(command, flags[n-1]), there))
	}
	name, value, withValue := strings.Cut(current, "=")
	switch {
	case ended || !strings.HasPrefix(current, "-"):
		return startingWith(current, argument(command, arguments, there.machines))
	case !withValue:
		return startingWith(current, flagsOf(command))
	}
	found := startingWith(value, values(flagOf(command, name), there))
	for i := range found {
		if !split && !strings.HasPrefix(found[i].word, ":") {
			found[i].word = name + "=" + found[i].word
		}
	}
	return found
}

// rejoin puts --flag=value together again, which bash takes apart; split says
// that it did so with the last word.
func rejoin(words []string) (joined []string, split bool) {
	for _, w := range words {
		last := len(joined) - 1
		split = last >= 0 && strings.HasPrefix(joined[last], "-") && (w == "=" || split && strings.HasSuffix(joined[last], "="))
		if split {
			joined[last] += w
		} else {
			joined = append(joined, w)
		}
	}
	return joined, split
}

// commandOf finds the command that a line is about, and what follows it; nil
// where the line has not come that far.
func commandOf(app *cli.App, words []string) (*cli.Command, []string) {
	if len(words) == 0 {
		return nil, nil
	}
	c := app.Command(words[0])
	if c == nil {
		return app.Command("create"), words
	}
	words = words[1:]
	for len(c.Subcommands) > 0 && len(words) > 0 {
		sub := subcommand(c, words[0])
		if sub == nil {
			break
		}
		c, words = sub, words[1:]
	}
	return c, words
}

func commands(all []*cli.Command) []suggestion {
	var found []suggestion
	for _, c := range all {
		if !c.Hidden {
			found = append(found, suggestion{c.Name, c.Usage})
		}
	}
	return found
}

func flagsOf(c *cli.Command) []suggestion {
	found := []suggestion{{"--help", "explain the command"}}
	for _, f := range c.Flags {
		if d, ok := f.(cli.DocGenerationFlag); ok {
			found = append(found, suggestion{"--" + f.Names()[0], d.GetUsage()})
		}
	}
	return found
}

func flagOf(c *cli.Command, word string) cli.Flag {
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), strings.TrimLeft(word, "-")) {
			return f
		}
	}
	return nil
}

var (
	placeholder = regexp.MustCompile("`([^`]*)`")
	aside       = regexp.MustCompile(`\([^)]*\)`)
	oneWord     = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

// paths are the words of a usage that stand for a file, or a directory.
var paths = []string{"FILE", "PATH", "LOCAL", "SOURCE", "TARGET", "IMAGE", "BINARY", "A", "B"}

func suggestions(words []string, what string) []suggestion {
	found := make([]suggestion, len(words))
	for i, w := range words {
		found[i] = suggestion{w, what}
	}
	return found
}

// values are what a flag may be given, as far as its help says so: files,
// directories, or the words of an enumeration that ends its first sentence, as
// in "`FORM` of the result: text or json"; and names that are in a table.
func values(f cli.Flag, there onHost) []suggestion {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return nil
	}
	switch f.Names()[0] {
	case "distro":
		return suggestions(there.distros(), "distribution")
	case "capability", "drop-capability":
		return suggestions(spec.Capabilities(), "")
	case "unset":
		return suggestions(spec.LimitNames(), "")
	}
	if m := placeholder.FindStringSubmatch(d.GetUsage()); m != nil {
		switch {
		case slices.Contains(paths, m[1]):
			return []suggestion{{suggestFiles, ""}}
		case m[1] == "DIR" || strings.HasPrefix(m[1], "SOURCE"):
			return []suggestion{{suggestDirectories, ""}}
		}
	}
	usage, _, _ := strings.Cut(aside.ReplaceAllString(d.GetUsage(), ""), ";")
	at := strings.LastIndex(usage, ": ")
	if at < 0 {
		return nil
	}
	var found []suggestion
	for word := range strings.SplitSeq(strings.ReplaceAll(usage[at+2:], " or ", ", "), ",") {
		if word = strings.TrimSpace(word); oneWord.MatchString(word) {
			found = append(found, suggestion{word, ""})
		}
	}
	return found
}

// argument is what a command may be given next, as its ArgsUsage says.
func argument(c *cli.Command, given []string, names func() []string) []suggestion {
	wanted := strings.Fields(c.ArgsUsage)
	if len(wanted) == 0 || c.Name == "create" || c.Name == "plan" { // a new name
		return nil
	}
	next := wanted[min(len(given), len(wanted)-1)]
	if len(given) >= len(wanted) && !strings.HasSuffix(next, "...") && !strings.HasSuffix(next, "...]") {
		return nil
	}
	next = strings.Trim(strings.NewReplacer("...", "", "[", "", "]", "").Replace(next), " ")
	switch {
	case c.Name == "clone" && len(given) > 0: // a new name
		return nil
	case strings.HasSuffix(next, "NAME"), c.Name == "clone":
		var found []suggestion
		for _, name := range names() {
			if !slices.Contains(given, name) {
				found = append(found, suggestion{name, "machine"})
			}
		}
		return found
	case next == "PLUGIN":
		var found []suggestion
		for _, name := range pluginhost.Names(pluginhost.DefaultDirectories()) {
			if !slices.Contains(given, name) {
				found = append(found, suggestion{name, "plugin"})
			}
		}
		return found
	case strings.Contains(next, "|"):
		return suggestions(strings.Split(next, "|"), "")
	case next == "DIR":
		return []suggestion{{suggestDirectories, ""}}
	case slices.Contains(paths, next):
		return []suggestion{{suggestFiles, ""}}
	}
	return nil
}

func startingWith(prefix string, all []suggestion) []suggestion {
	return slices.DeleteFunc(all, func(s suggestion) bool {
		return !strings.HasPrefix(s.word, ":") && !strings.HasPrefix(s.word, prefix)
	})
}

// thereNow is what this host has.
var thereNow = onHost{machines: machineNamesNow, distros: func() []string { return pluginhost.Distros(pluginhost.DefaultDirectories()) }}

// machineNamesNow are the machines of this host, as far as the user may know
// them.
func machineNamesNow() []string { return machines.Names(machines.StateDir, machines.SettingsDir) }
