package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func (a *app) cacheCommand() *cli.Command {
	return &cli.Command{
		Name:        "cache",
		Usage:       "look at the bootstrapped trees that are kept, and remove some",
		Subcommands: []*cli.Command{a.cacheListCommand(), a.cachePruneCommand()},
	}
}

// keptTree is one tree in the results of cache list and cache prune.
type keptTree struct {
	Digest  string    `json:"digest"` // of its key
	Distro  string    `json:"distro"`
	Release string    `json:"release,omitempty"`
	Arch    string    `json:"arch"`
	Size    int64     `json:"size"` // on disk, in bytes
	Made    time.Time `json:"made"`
	Used    time.Time `json:"used"`
	Tree    string    `json:"tree"` // SHA-256 of the tree's canonical tar

	Key *rootcache.Key `json:"key,omitempty"`
}

func keptTrees(all []rootcache.Entry) []keptTree {
	rows := make([]keptTree, len(all))
	for i, e := range all {
		rows[i] = keptTree{
			e.Digest, e.Key.Distro(), e.Key.Release(), e.Key.Arch(), e.Size, e.Made, e.Used, e.Tree, &all[i].Key,
		}
	}
	return rows
}

func (a *app) cacheListCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the trees that are kept, the one used last first",
		Flags: []cli.Flag{outputFlag()},
		Action: func(ctx *cli.Context) error {
			c, err := a.cacheAlone(ctx)
			if err != nil {
				return err
			}
			all, err := c.List()
			if err != nil {
				return err
			}
			return a.result(ctx, keptTrees(all), func() {
				if len(all) == 0 {
					a.printf("no trees\n")
					return
				}
				a.printKept(keptTrees(all))
			})
		},
	}
}

// cacheAlone opens the cache for a command that takes no argument.
func (a *app) cacheAlone(ctx *cli.Context) (*rootcache.Cache, error) {
	if ctx.NArg() > 0 {
		return nil, &usageError{fmt.Sprintf("unexpected argument %q", ctx.Args().First()), "cache " + ctx.Command.Name + " takes none"}
	}
	if err := needRoot(); err != nil {
		return nil, err
	}
	return a.rootCache()
}

func (a *app) cachePruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "remove trees that are kept, and what was left half made or is damaged",
		Description: "Without flags what is above the bound of " + maxSizeKey + " goes, 10G unless it is set: what was\n" +
			"used longest ago first. A tree that a machine is being made of stays. Packages that\n" +
			"plugins keep are not touched: each keeps its own in order.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "max-size", Usage: "keep what was used last, up to a `SIZE` such as 2G"},
			&cli.StringFlag{Name: "older-than", Usage: "remove what was not used for `TIME`, such as 72h or 30d"},
			&cli.BoolFlag{Name: "all", Usage: "remove all"},
			outputFlag(),
		},
		Action: a.cachePrune,
	}
}

// pruned is the result of cache prune.
type pruned struct {
	Removed []keptTree `json:"removed"`
	Freed   int64      `json:"freed"` // bytes
	Kept    int        `json:"kept"`
}

func (a *app) cachePrune(ctx *cli.Context) error {
	o, err := pruneOptions(ctx)
	if err != nil {
		return err
	}
	c, err := a.cacheAlone(ctx)
	if err != nil {
		return err
	}
	if o == (rootcache.PruneOptions{}) {
		o.MaxSize = c.Bound()
	}
	o.MaxSize = max(0, o.MaxSize)
	removed, err := c.Prune(ctx.Context, o)
	left, listErr := c.List()
	if listErr != nil {
		return several(err, listErr)
	}
	res := pruned{Removed: keptTrees(removed), Kept: len(left)}
	for _, e := range removed {
		res.Freed += e.Size
	}
	return several(err, a.result(ctx, res, func() {
		if len(removed) > 0 {
			a.printKept(res.Removed)
		}
		a.printf("%s removed, %s freed; %d kept\n", count(len(removed), "tree"), bytesOf(res.Freed), res.Kept)
	}))
}

// pruneOptions are those of the line.
func pruneOptions(ctx *cli.Context) (o rootcache.PruneOptions, err error) {
	o.All = ctx.Bool("all")
	if ctx.IsSet("max-size") {
		if o.MaxSize, err = parseBound("max-size", ctx.String("max-size")); err != nil {
			return o, err
		}
	}
	if ctx.IsSet("older-than") {
		o.OlderThan, err = parseAge(ctx.String("older-than"))
	}
	return o, err
}

// parseAge reads a time such as 72h or 30d.
func parseAge(text string) (time.Duration, error) {
	d, err := spec.ParseTime(text)
	if err != nil || d <= 0 {
		return 0, &usageError{fmt.Sprintf("older-than: %q is not a time", text), "use 72h or 30d"}
	}
	return d, nil
}

func (a *app) printKept(rows []keptTree) {
	w := tabwriter.NewWriter(harmless{a.out}, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DISTRO\tRELEASE\tARCH\tSIZE\tMADE\tUSED\tDIGEST")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Distro, orNone(r.Release), r.Arch, bytesOf(r.Size),
			r.Made.Local().Format(time.DateTime), r.Used.Local().Format(time.DateTime), r.Digest[:12])
	}
	_ = w.Flush()
}

// bytesOf is a number of bytes as people read it.
func bytesOf(n int64) string {
	const unit = 1024
	value, suffix := float64(n), "B"
	for _, s := range []string{"K", "M", "G", "T"} {
		if value < unit {
			break
		}
		value, suffix = value/unit, s
	}
	if suffix == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f%s", value, suffix)
}
