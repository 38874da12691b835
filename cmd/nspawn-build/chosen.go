package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// labelFlag is the flag by which machines are found. Unlike that of create it
// has no default from the environment: a command that ends machines must not
// mean others than the line says.
func labelFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "those with the label `KEY=VALUE`, or KEY with any value; given more than once, with all of them"}
}

func allFlag() cli.Flag {
	return &cli.BoolFlag{Name: "all", Usage: "all machines"}
}

// chosen is which machines a command line means.
type chosen struct {
	names []string
	// single says that the line names just one: then its result is one thing,
	// else a list.
	single bool
	choice machines.Choice
}

func selectors(ctx *cli.Context) ([]spec.Selector, error) {
	var all []spec.Selector
	var bad spec.Invalid
	for _, text := range ctx.StringSlice("label") {
		s, e := spec.ParseSelector(text)
		if e != nil {
			bad = append(bad, e)
			continue
		}
		all = append(all, s)
	}
	if bad != nil {
		return nil, bad
	}
	return all, nil
}

// machineNames reads the names on a command line, or which machines it means
// without naming them.
func machineNames(ctx *cli.Context) (chosen, error) {
	var c chosen
	var err error
	if c.choice.Labels, err = selectors(ctx); err != nil {
		return c, err
	}
	var ways []string
	for _, f := range []string{"all", "expired", "label"} {
		if ctx.IsSet(f) {
			ways = append(ways, "--"+f)
		}
	}
	if ctx.NArg() > 0 && len(ways) > 0 {
		return c, &usageError{fmt.Sprintf("both %q and %s say which machines", strings.Join(ctx.Args().Slice(), " "), ways[0]), "give one of them"}
	}
	if len(ways) > 1 && ways[0] == "--all" {
		return c, &usageError{ways[0] + " and " + ways[1] + " were both given", "leave one of them out"}
	}
	if len(ways) > 0 {
		return c, nil
	}
	if ctx.NArg() <= 1 {
		name, err := first(ctx)
		c.names, c.single = []string{name}, true
		return c, err
	}
	var bad spec.Invalid
	for _, word := range ctx.Args().Slice() {
		name, e := spec.ParseName(word)
		if e != nil {
			bad = append(bad, e)
		} else if !slices.Contains(c.names, name) {
			c.names = append(c.names, name)
		}
	}
	if bad != nil {
		return c, bad
	}
	return c, nil
}

// find finds out the names of a line that gives none. What cannot be read is
// told in the error, beside the names that can.
func (c *chosen) find(house *machines.House) (err error) {
	if len(c.names) == 0 {
		c.names, err = house.Chosen(c.choice)
	}
	return err
}

// each does something with each machine that is meant, and tells whether that
// changed anything. With several, each line that is told of one names it.
func (c chosen) each(ctx context.Context, house *machines.House, do func(ctx context.Context, house *machines.House, name string) (bool, error)) ([]bool, []error) {
	return machines.Each(ctx, c.names, func(ctx context.Context, name string) (bool, error) {
		if len(c.names) > 1 {
			return do(ctx, named(house, name), name)
		}
		return do(ctx, house, name)
	})
}

// named is the house with the machine's name in all that is told.
func named(house *machines.House, name string) *machines.House {
	h, tell := *house, house.Tell
	h.Tell = func(e pipeline.Event) {
		e.Stage = name + " " + e.Stage
		tell(e)
	}
	return &h
}

// several joins what went wrong with machines; nil when nothing did.
func several(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return &severalError{errs}
}

// severalError is more than one failure, each with an exit status of its own:
// the first one's counts.
type severalError struct{ errs []error }

func (e *severalError) Error() string { return errors.Join(e.errs...).Error() }
