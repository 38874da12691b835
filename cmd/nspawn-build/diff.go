package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/images"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func (a *app) diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "say in what two images differ",
		ArgsUsage: "A B",
		Description: "Compares packages, files (type, mode, owner, size, content, links, attributes) and sizes,\n" +
			"whatever the formats. It exits 0 when the images are the same and 8 when they differ.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "times", Usage: "compare the times of files too"},
			outputFlag(),
		},
		Action: a.diff,
	}
}

func (a *app) diff(ctx *cli.Context) error {
	if ctx.NArg() != 2 {
		return &usageError{fmt.Sprintf("%d images were given", ctx.NArg()), "name two: nspawn-build diff A B"}
	}
	if err := needRoot(); err != nil { // the owners of what is unpacked are compared
		return err
	}
	var paths []string
	for _, arg := range ctx.Args().Slice() {
		path, err := filepath.Abs(arg)
		if err == nil {
			_, err = image.FormatOf(path)
		}
		if err != nil {
			return spec.Invalid{{Field: "image", Value: arg, Problem: "is not an image: " + reason(err), Hint: "name a directory, an archive, an OCI layout or a disk that nspawn-build image made"}}
		}
		paths = append(paths, path)
	}
	c, err := images.Compare(ctx.Context, paths[0], paths[1], ctx.Bool("times"))
	if err != nil {
		return err
	}
	if err := a.result(ctx, c, func() { a.printDiff(c) }); err != nil {
		return err
	}
	if !c.Same {
		return statusError(exitExists)
	}
	return nil
}

func (a *app) printDiff(c images.Comparison) {
	for _, t := range c.Tools {
		a.printf("tool ~ %s %s, now %s\n", t.Name, t.Before, t.After)
	}
	if c.Same {
		a.printf("the images are the same: %d packages, %d files, %s\n", c.A.Packages, c.A.Files, sizeText(c.A.Bytes))
		return
	}
	for _, p := range c.Packages {
		switch {
		case p.Before == "":
			a.printf("package + %s %s\n", p.Name, p.After)
		case p.After == "":
			a.printf("package - %s %s\n", p.Name, p.Before)
		default:
			a.printf("package ~ %s %s, now %s\n", p.Name, p.Before, p.After)
		}
	}
	for _, f := range c.Files {
		switch {
		case f.Before == nil:
			a.printf("file + %s  (%s)\n", f.Path, itemText(f.After))
		case f.After == nil:
			a.printf("file - %s  (%s)\n", f.Path, itemText(f.Before))
		default:
			a.printf("file ~ %s  (%s: %s, now %s)\n", f.Path, strings.Join(f.What, ", "), itemText(f.Before), itemText(f.After))
		}
	}
	a.printf("packages: %d, now %d; files: %d, now %d; size: %s, now %s\n",
		c.A.Packages, c.B.Packages, c.A.Files, c.B.Files, sizeText(c.A.Bytes), sizeText(c.B.Bytes))
}

func itemText(i *images.Item) string {
	text := i.Type + " " + i.Mode + " " + i.Owner
	if i.Type == "file" {
		text += " " + sizeText(i.Size)
	}
	return text
}
