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

// suggest says how the last of the words, which may be empty, may go on. names
// gives those of the machines.
func suggest(app *cli.App, words []string, names func() []string) []suggestion {
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
		return startingWith(current, values(flagOf(command, flags[n-1])))
	}
	name, value, withValue := strings.Cut(current, "=")
	switch {
	case ended || !strings.HasPrefix(current, "-"):
		return startingWith(current, argument(command, arguments, names))
	case !withValue:
		return startingWith(current, flagsOf(command))
	}
	found := startingWith(value, values(flagOf(command, name)))
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
	oneWord     = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
)

// values are what a flag may be given, as far as its help says so: files,
// directories, or the words of an enumeration that ends its first sentence, as
// in "`FORM` of the result: text or json".
func values(f cli.Flag) []suggestion {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return nil
	}
	if m := placeholder.FindStringSubmatch(d.GetUsage()); m != nil {
		switch {
		case m[1] == "FILE":
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
	case next == "NAME":
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
		var found []suggestion
		for word := range strings.SplitSeq(next, "|") {
			found = append(found, suggestion{word, ""})
		}
		return found
	case next == "DIR":
		return []suggestion{{suggestDirectories, ""}}
	case slices.Contains([]string{"FILE", "PATH", "LOCAL", "SOURCE", "TARGET"}, next):
		return []suggestion{{suggestFiles, ""}}
	}
	return nil
}

func startingWith(prefix string, all []suggestion) []suggestion {
	return slices.DeleteFunc(all, func(s suggestion) bool {
		return !strings.HasPrefix(s.word, ":") && !strings.HasPrefix(s.word, prefix)
	})
}

// machineNamesNow are the machines of this host, as far as the user may know
// them.
func machineNamesNow() []string { return machines.Names(machines.StateDir, machines.SettingsDir) }
