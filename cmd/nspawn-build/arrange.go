package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// arrange puts a command line into the order that the flag parser takes: the
// command, its flags, then its arguments. So flags may stand anywhere, and
// `nspawn-build --distro debian box` becomes `nspawn-build create --distro
// debian -- box`.
//
// What follows the machine's name of a command that hands its arguments on
// (exec, shell, ssh) is not looked at. The error is what no flag parser finds: a
// flag without its value, and a slip that would make a machine.
func arrange(args []string, app *cli.App) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	prog, rest := args[0], args[1:]
	if slices.Contains([]string{"-h", "--help", "-v", "--version"}, rest[0]) {
		return args, nil
	}
	rest = commandFirst(rest, app)
	if rest[0] == helpWord {
		return helpOn(prog, rest[1:], app)
	}
	command := app.Command(rest[0])
	bare := command == nil
	if bare {
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
	flags, arguments, lacking := part(rest, command)
	if slices.Contains(flags, "--help") || slices.Contains(flags, "-h") {
		return append(path, "--help"), nil
	}
	if lacking != "" {
		return nil, &usageError{"flag " + lacking + " needs a value", "nspawn-build " + strings.Join(path[1:], " ") + " --help explains it"}
	}
	if bare {
		if err := slip(flags, arguments, app); err != nil {
			return nil, err
		}
	}
	if len(command.Subcommands) == 0 {
		flags = append(flags, "--")
	}
	return slices.Concat(path, flags, arguments), nil
}

// helpWord is how many other programs are asked what they can do.
const helpWord = "help"

// helpOn turns `help [COMMAND…]` into `[COMMAND…] --help`.
func helpOn(prog string, words []string, app *cli.App) ([]string, error) {
	path := []string{prog}
	known := app.Commands
	for _, w := range words {
		if strings.HasPrefix(w, "-") {
			continue
		}
		i := slices.IndexFunc(known, func(c *cli.Command) bool { return c.HasName(w) })
		if i < 0 {
			return nil, &usageError{fmt.Sprintf("%q is not a command", strings.Join(append(path[1:], w), " ")), didYouMean(w, namesOf(known), "nspawn-build --help lists the commands")}
		}
		path, known = append(path, known[i].Name), known[i].Subcommands
	}
	return append(path, "--help"), nil
}

// slip refuses the name of a machine that is nearly that of a command where
// nothing on the line says that a machine is to be made: with a default for the
// distribution a mistyped command would make one.
func slip(flags, arguments []string, app *cli.App) error {
	if len(arguments) == 0 || slices.ContainsFunc(flags, saysCreate) {
		return nil
	}
	like := spec.Nearest(arguments[0], namesOf(app.Commands))
	if like == "" {
		return nil
	}
	return &usageError{
		fmt.Sprintf("%q is not a command", arguments[0]),
		fmt.Sprintf("did you mean %s? Write nspawn-build create %s if it is a machine that you mean", like, arguments[0]),
	}
}

// saysCreate says of a flag that it is there to make a machine.
func saysCreate(word string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	return slices.Contains([]string{"distro", "file", "f", "resume"}, name)
}

// common are the flags that every command has: they may stand before it.
var common = []string{"log-level", "log-format", "output"}

// commandFirst moves a command before the common flags that it comes after.
func commandFirst(words []string, app *cli.App) []string {
	var before []string
	i := 0
	for i < len(words) && strings.HasPrefix(words[i], "-") {
		name, value, valued := strings.Cut(strings.TrimLeft(words[i], "-"), "=")
		if name == "o" {
			name = "output" // also of a command that has another -o
		}
		if !slices.Contains(common, name) {
			return words
		}
		before = append(before, "--"+name)
		switch i++; {
		case valued:
			before[len(before)-1] += "=" + value
		case i == len(words):
			return words
		default:
			before = append(before, words[i])
			i++
		}
	}
	if i < len(words) && words[i] == helpWord {
		return words[i:] // none of these flags changes what help says
	}
	if i == 0 || i >= len(words) || app.Command(words[i]) == nil {
		return words
	}
	end := i + 1
	if end < len(words) && subcommand(app.Command(words[i]), words[end]) != nil {
		end++
	}
	return slices.Concat(words[i:end], before, words[end:])
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

// part separates flags from arguments, and tells which flag takes a value and
// has none.
func part(words []string, c *cli.Command) (flags, arguments []string, lacking string) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--":
			return flags, append(arguments, words[i+1:]...), lacking
		case !strings.HasPrefix(w, "-") || w == "-":
			arguments = append(arguments, w)
			if handsOn(c) {
				rest := words[i+1:]
				if len(rest) > 0 && rest[0] == "--" {
					rest = rest[1:]
				}
				return flags, append(arguments, rest...), lacking
			}
		default:
			if i+1 < len(words) && mayTake(c, w, words[i+1]) {
				i++
				w += "=" + words[i]
			}
			flags = append(flags, w)
			if !takesValue(c, w) {
				continue
			}
			if i+1 == len(words) || isFlag(c, words[i+1]) {
				lacking = cmp.Or(lacking, w)
				continue
			}
			i++
			flags = append(flags, words[i])
		}
	}
	return flags, arguments, lacking
}

// isFlag says of a word that it cannot be what a flag before it takes: as a
// value it would have to be written --flag=--other.
func isFlag(c *cli.Command, word string) bool {
	if word == "--" || word == "--help" {
		return true
	}
	name, _, _ := strings.Cut(word, "=")
	return strings.HasPrefix(word, "--") && flagOf(c, name) != nil
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
