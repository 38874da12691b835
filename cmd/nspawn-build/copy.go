package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/transfer"
)

// stream stands for standard input or output in place of a path.
const stream = "-"

func copyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace files that are there, and merge directories"},
		&cli.BoolFlag{Name: "archive", Aliases: []string{"a"}, Usage: "keep owners as they are numbered, setuid and setgid bits, file capabilities and access control lists"},
	}
}

const copyRules = "DEST is the name of the copy, or a directory that it is put into; without it, it is SOURCE.\n" +
	"Links are copied as links; devices, sockets and pipes are left out. A machine that is off\n" +
	"is copied to and from as well.\n"

func (a *app) copyToCommand() *cli.Command {
	return &cli.Command{
		Name:      "copy-to",
		Usage:     "copy a file or a tree of this host into a machine",
		ArgsUsage: "NAME SOURCE [DEST]",
		Description: copyRules +
			"What arrives belongs to the machine's root unless --archive is given. With - for SOURCE,\n" +
			"a tar stream on standard input is unpacked into the directory DEST.",
		Flags: copyFlags(),
		Action: a.copying(func(ctx *cli.Context, m transfer.Machine, source, destination string, o transfer.Options) error {
			o.Parents = true
			if source == stream {
				o.Into = true
				return m.PushStream(ctx.Context, destination, o, a.leftOut, func(to io.Writer) error {
					_, err := io.Copy(to, a.in)
					return err
				})
			}
			return m.Push(ctx.Context, source, destination, o, a.leftOut)
		}),
	}
}

func (a *app) copyFromCommand() *cli.Command {
	return &cli.Command{
		Name:      "copy-from",
		Usage:     "copy a file or a tree of a machine to this host",
		ArgsUsage: "NAME SOURCE [DEST]",
		Description: copyRules +
			"What arrives belongs to you, and without setuid and setgid bits, unless --archive is given.\n" +
			"With - for DEST, a tar stream is written to standard output.",
		Flags: copyFlags(),
		Action: a.copying(func(ctx *cli.Context, m transfer.Machine, source, destination string, o transfer.Options) error {
			if destination == stream {
				return m.PullStream(ctx.Context, source, a.leftOut, func(from io.Reader) error {
					_, err := io.Copy(a.out, from)
					return err
				})
			}
			u, err := invoker()
			if err != nil {
				return err
			}
			for text, to := range map[string]*int{u.Uid: &o.UID, u.Gid: &o.GID} {
				if *to, err = strconv.Atoi(text); err != nil {
					return err
				}
			}
			return m.Pull(ctx.Context, source, destination, o, a.leftOut)
		}),
	}
}

func (a *app) leftOut(what string) { a.log.Warn("left out: " + what) }

// copying is the action of both verbs.
func (a *app) copying(do func(ctx *cli.Context, m transfer.Machine, source, destination string, o transfer.Options) error) cli.ActionFunc {
	return func(ctx *cli.Context) error {
		name, err := first(ctx)
		if err != nil {
			return err
		}
		if ctx.NArg() > 3 {
			return tooMany(ctx, 3)
		}
		source, destination := ctx.Args().Get(1), ctx.Args().Get(2)
		if destination == "" {
			destination = source
		}
		inMachine := &destination
		onHost := &source
		if ctx.Command.Name == "copy-from" {
			inMachine, onHost = onHost, inMachine
		}
		if e := copyable(source, *inMachine); e != nil {
			return spec.Invalid{e}
		}
		if *onHost != stream {
			if *onHost, err = hostPath(*onHost); err != nil {
				return err
			}
		}
		house, err := a.house()
		if err != nil {
			return err
		}
		o := transfer.Options{Base: path.Base(path.Clean(source)), Force: ctx.Bool("force"), Keep: ctx.Bool("archive")}
		return house.Transfer(ctx.Context, name, func(m transfer.Machine) error { return do(ctx, m, source, destination, o) })
	}
}

// copyable checks what can be checked without looking.
func copyable(source, inMachine string) *spec.FieldError {
	switch {
	case source == "":
		return &spec.FieldError{Field: "source", Problem: "nothing to copy was named", Hint: "nspawn-build copy-to NAME SOURCE DEST, or copy-from"}
	case !path.IsAbs(inMachine):
		return &spec.FieldError{Field: "path", Value: inMachine, Problem: "is not an absolute path of the machine", Hint: "name it from the machine's root, such as /workspace"}
	case path.Clean(source) == "/":
		return &spec.FieldError{Field: "source", Value: source, Problem: "is a whole root directory", Hint: "name what is in it; nspawn-build clone makes a machine from another"}
	}
	return nil
}

// hostPath makes a path absolute and leaves a slash at its end.
func hostPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if strings.HasSuffix(name, string(os.PathSeparator)) && abs != "/" {
		abs += "/"
	}
	return abs, nil
}
