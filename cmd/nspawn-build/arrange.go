package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts a command line into the order that the flag parser takes: the
// command, its flags, then its arguments. So flags may stand anywhere, and
// `nspawn-build --distro debian box` becomes `nspawn-build create --distro
// debian -- box`.
//
// What follows the machine's name of a command that hands its arguments on
// (exec, shell, ssh) is not looked at.
func arrange(args []string, app *cli.App) []string {
	if len(args) < 2 {
		return args
	}
	prog, rest := args[0], args[1:]
	if slices.Contains([]string{"-h", "--help", "-v", "--version", "help"}, rest[0]) {
		return args
	}
	rest = commandFirst(rest, app)
	command := app.Command(rest[0])
	if command == nil {
		command = app.Command("create")
	} else {
		rest = rest[1:]
	}
	path := []string{prog, command.Name}
	for len(command.Subcommands) > 0 && len(rest) > 0 {
		sub := subcommand(command, rest[0])
		if sub == nil {
			break
		}
		command, path, rest = sub, append(path, sub.Name), rest[1:]
	}
	flags, arguments := part(rest, command)
	if slices.Contains(flags, "--help") || slices.Contains(flags, "-h") {
		return append(path, "--help")
	}
	if len(command.Subcommands) == 0 {
		flags = append(flags, "--")
	}
	return slices.Concat(path, flags, arguments)
}

// common are the flags that every command has: they may stand before it.
var common = []string{"log-level", "log-format", "output"}

// commandFirst moves a command before the common flags that it comes after.
func commandFirst(words []string, app *cli.App) []string {
	i := 0
	for i < len(words) && strings.HasPrefix(words[i], "--") {
		name, _, valued := strings.Cut(words[i][2:], "=")
		if !slices.Contains(common, name) {
			return words
		}
		if i++; !valued {
			i++
		}
	}
	if i == 0 || i >= len(words) || app.Command(words[i]) == nil {
		return words
	}
	end := i + 1
	if end < len(words) && subcommand(app.Command(words[i]), words[end]) != nil {
		end++
	}
	return slices.Concat(words[i:end], words[:i], words[end:])
}

func subcommand(c *cli.Command, name string) *cli.Command {
	for _, s := range c.Subcommands {
		if s.HasName(name) {
			return s
		}
	}
	return nil
}

// handsOn says of a command that it passes what follows its first argument on.
func handsOn(c *cli.Command) bool {
	return c.Name == "exec" || c.Name == "shell" || c.Name == "ssh"
}

// part separates flags from arguments.
func part(words []string, c *cli.Command) (flags, arguments []string) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--":
			return flags, append(arguments, words[i+1:]...)
		case !strings.HasPrefix(w, "-") || w == "-":
			arguments = append(arguments, w)
			if handsOn(c) {
				rest := words[i+1:]
				if len(rest) > 0 && rest[0] == "--" {
					rest = rest[1:]
				}
				return flags, append(arguments, rest...)
			}
		default:
			if i+1 < len(words) && mayTake(c, w, words[i+1]) {
				i++
				w += "=" + words[i]
			}
			flags = append(flags, w)
			if takesValue(c, w) && i+1 < len(words) {
				i++
				flags = append(flags, words[i])
			}
		}
	}
	return flags, arguments
}

// takesValue reports whether the next word belongs to a flag.
func takesValue(c *cli.Command, word string) bool {
	name := strings.TrimLeft(word, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool && optionalOf(f) == nil
		}
	}
	return false
}

// mayTake reports whether the next word belongs to a flag that needs none.
func mayTake(c *cli.Command, word, next string) bool {
	o := optionalOf(flagOf(c, word))
	return o != nil && o.takes(next)
}

// optional is the value of a flag that may have one. It has the next word of the
// line only if takes says so.
type optional struct {
	value   string
	without string // what the flag means without a value
	takes   func(word string) bool
}

func (o *optional) String() string { return o.value }

// Set takes the value; the flag parser passes "true" where there is none.
func (o *optional) Set(value string) error {
	switch value {
	case "":
		return errors.New("no value was given")
	case "true":
		value = o.without
	}
	o.value = value
	return nil
}

// IsBoolFlag tells the flag parser that no value has to follow.
func (*optional) IsBoolFlag() bool { return true }

func optionalOf(f cli.Flag) *optional {
	if g, ok := f.(*cli.GenericFlag); ok {
		o, _ := g.Value.(*optional)
		return o
	}
	return nil
}
