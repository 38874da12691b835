package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// fileFlags say that the machines are described in a file.
func fileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "take what is wanted from the spec `FILE`, for one machine or several; - is standard input"},
		&cli.BoolFlag{Name: "apply", Usage: "change a machine that exists and differs, where that is possible (with --file that goes without saying; --apply=false keeps it from it)"},
		&cli.IntFlag{Name: "jobs", Usage: "bootstrap `N` machines of a file at once (default: one for each processor, at most 8)"},
	}
}

// wish is one machine that a command line asks for, with where it is described.
type wish struct {
	machines.Wanted
	keyFiles []string
	file     *spec.Wish // nil unless in a file
}

// locate gives what is wrong with the spec its place in the file.
func (w wish) locate(err error) error {
	var bad spec.Invalid
	var placed *spec.FileError
	if w.file == nil || errors.As(err, &placed) || !errors.As(err, &bad) {
		return err
	}
	return w.file.Locate(bad)
}

// wishes reads what a command line asks for. Several says that it is a list, be
// it of one.
func (a *app) wishes(ctx *cli.Context) (all []wish, several bool, err error) {
	if !ctx.IsSet("file") {
		if a.given(ctx, "jobs") || a.given(ctx, "fail-fast") {
			return nil, false, &usageError{"--jobs and --fail-fast are about the machines of a file", "give one: --file spec.yaml"}
		}
		w, err := a.wanted(ctx)
		w.Apply = ctx.Bool("apply")
		return []wish{{Wanted: w, keyFiles: ctx.StringSlice("ssh-key")}}, false, err
	}
	if ctx.Bool("resume") {
		return nil, false, &usageError{"--resume and --file were both given", "with a file the same command goes on where it stopped; leave --resume out"}
	}
	if ctx.Int("jobs") < 0 || a.given(ctx, "jobs") && ctx.Int("jobs") == 0 {
		return nil, false, &usageError{fmt.Sprintf("jobs: \"%d\" is not a number of machines", ctx.Int("jobs")), "use 1 or more"}
	}
	f, err := a.readFile(ctx.String("file"))
	if err != nil {
		return nil, false, err
	}
	chosen, err := a.choose(ctx, f)
	if err != nil {
		return nil, false, err
	}
	for _, own := range chosen {
		w, err := a.fromFile(ctx, own, f.Several)
		if err != nil {
			return nil, false, err
		}
		all = append(all, w)
	}
	return all, f.Several, apart(all)
}

// apart says what the machines of a file take from each other.
func apart(all []wish) error {
	specs := make([]spec.Spec, len(all))
	for i, w := range all {
		specs[i] = w.Spec
	}
	var found spec.FileError
	for _, c := range spec.Clashes(specs) {
		found.Findings = append(found.Findings, all[c.Machine].file.Locate(spec.Invalid{c.FieldError}).Findings...)
	}
	if len(found.Findings) == 0 {
		return nil
	}
	return &found
}

// specLimit is more than core/spec takes: then it is it that says so.
const specLimit = 1 << 20

// readFile reads a spec file.
func (a *app) readFile(name string) (*spec.File, error) {
	src, data, err := a.readSource(name)
	if err != nil {
		return nil, err
	}
	return spec.ReadFile(src, data)
}

// readSource reads the text of a file, and says where it was.
func (a *app) readSource(name string) (spec.Source, []byte, error) {
	u, err := invoker()
	if err != nil {
		return spec.Source{}, nil, err
	}
	src := spec.Source{Name: name, Home: u.HomeDir}
	in := a.in
	if name == "-" {
		src.Name = "standard input"
		src.Directory, err = os.Getwd()
	} else {
		var path string
		if path, err = filepath.Abs(name); err != nil {
			return src, nil, err
		}
		src.Directory = filepath.Dir(path)
		var f *os.File
		if f, err = os.Open(name); err != nil {
			return src, nil, badFile(name, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	if err != nil {
		return src, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, specLimit))
	if err != nil {
		return src, nil, badFile(name, err)
	}
	return src, data, nil
}

func badFile(name string, err error) error {
	return spec.Invalid{{Field: "file", Value: name, Problem: "cannot be read: " + reason(err), Hint: "name a spec file; docs/spec-file.md says what is in one"}}
}

// choose returns the machines of a file that the arguments mean. Of a list they
// choose some; a single machine they give its name.
func (a *app) choose(ctx *cli.Context, f *spec.File) ([]*spec.Wish, error) {
	names := ctx.Args().Slice()
	if !f.Several {
		if len(names) > 1 {
			return nil, a.severalNames(ctx)
		}
		if len(names) == 1 {
			f.Machines[0].Input.Name = names[0]
		}
		return f.Machines, nil
	}
	if own := a.aboutMachines(ctx); len(own) > 0 {
		return nil, &usageError{
			strings.Join(own, " and ") + " would be said of every machine of " + ctx.String("file"),
			"say it in the file, under defaults or of a machine",
		}
	}
	if len(names) == 0 {
		return f.Machines, nil
	}
	var chosen []*spec.Wish
	for _, name := range names {
		i := slices.IndexFunc(f.Machines, func(w *spec.Wish) bool { return w.Input.Name == name })
		if i < 0 {
			return nil, spec.Invalid{{Field: "name", Value: name, Problem: "is no machine of " + ctx.String("file"), Hint: "leave the names out for all of its machines"}}
		}
		if !slices.Contains(chosen, f.Machines[i]) {
			chosen = append(chosen, f.Machines[i])
		}
	}
	return chosen, nil
}

// passwordFlags are the ways to give a password on the command line.
var passwordFlags = []string{"password-file", "password-stdin", "password-hash", "generate-password"}

// aboutMachines are the flags of the line that say what a machine is.
func (a *app) aboutMachines(ctx *cli.Context) []string {
	var own []string
	for _, f := range spec.FileFields {
		if f.Change != "" && f.Flag != "" && a.given(ctx, f.Flag) {
			own = append(own, "--"+f.Flag)
		}
	}
	for _, flag := range passwordFlags {
		if a.given(ctx, flag) {
			own = append(own, "--"+flag)
		}
	}
	return own
}

// given reports whether a flag is on the command line itself: what only the
// environment or the configuration says is a default, and the file wins over it.
func (a *app) given(ctx *cli.Context, flag string) bool {
	names := []string{flag}
	for _, f := range ctx.Command.Flags {
		if slices.Contains(f.Names(), flag) {
			names = f.Names()
		}
	}
	for i := 0; i < len(a.line) && a.line[i] != "--"; i++ {
		word, ok := strings.CutPrefix(a.line[i], "-")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(word, "-"), "=")
		if slices.Contains(names, name) {
			return true
		}
		if takesValue(ctx.Command, a.line[i]) {
			i++
		}
	}
	return false
}

// fromFile completes what the file says of a machine by what the line says, and
// by the defaults of the environment and the configuration.
func (a *app) fromFile(ctx *cli.Context, w *spec.Wish, list bool) (wish, error) {
	out := wish{file: w}
	in, err := a.input(ctx, w.Input.Name)
	if err != nil {
		return out, err
	}
	flags := &spec.Wish{Input: in, NoBoot: ctx.Bool("no-boot"), Timeout: ctx.Duration("timeout").String()}
	for _, f := range spec.FileFields {
		if f.Flag != "" && !strings.HasPrefix(f.Key, "access.") && (a.given(ctx, f.Flag) || !w.Says(f.Key)) {
			f.Take(w, flags)
		}
	}
	w.Input.GiveWay(func(flag string) bool { return a.given(ctx, flag) || w.Says(keyOf(flag)) })
	if err := readable(w.Input.Keyring); err != nil {
		return out, w.Locate(err)
	}
	if err := a.runOf(ctx, w, &out.Wanted); err != nil {
		return out, out.locate(err)
	}
	out.Apply = !ctx.IsSet("apply") || ctx.Bool("apply")
	// Whatever can be wrong is found before a password is asked for.
	built, err := spec.Build(w.Input)
	if err != nil {
		return out, out.locate(err)
	}
	refused := func() error { return out.locate(a.refusal(ctx, built)) }
	if err := a.accessOf(ctx, w, list, &out, refused); err != nil {
		return out, out.locate(err)
	}
	out.Spec, err = spec.Build(w.Input)
	return out, out.locate(err)
}

// keyOf is what a spec file calls the field that a flag sets.
func keyOf(flag string) string {
	i := slices.IndexFunc(spec.FileFields, func(f spec.FileField) bool { return f.Flag == flag })
	if i < 0 {
		return ""
	}
	return spec.FileFields[i].Key
}

// runOf reads how to go about making the machine.
func (a *app) runOf(ctx *cli.Context, w *spec.Wish, out *machines.Wanted) error {
	timeout, err := time.ParseDuration(w.Timeout)
	if err != nil {
		return spec.Invalid{{Field: "timeout", Value: w.Timeout, Problem: "is not a duration", Hint: "use 2m, say"}}
	}
	if e := spec.ParseTimeout(timeout); e != nil {
		return spec.Invalid{e}
	}
	out.Run = spec.Run{Boot: !w.NoBoot, Timeout: timeout}
	return onError(ctx, &out.Run)
}

// accessOf reads the password and the keys, as the line says or the file. What
// refused tells is told beside what is wrong with them.
func (a *app) accessOf(ctx *cli.Context, w *spec.Wish, list bool, out *wish, refused func() error) error {
	byLine := slices.ContainsFunc(passwordFlags, func(flag string) bool { return a.given(ctx, flag) })
	inFile := w.Says("access.password") || w.Says("access.password-file") || w.Says("access.password-hash")
	var err error
	switch {
	case byLine || !inFile:
		w.Input.Password, out.Secret, err = a.password(ctx)
	case w.PasswordFile != "":
		out.Secret, err = passwordFile("access.password-file", w.PasswordFile)
	case !w.PasswordHash.Empty():
		out.Secret = w.PasswordHash
		if e := spec.ParseHash(w.PasswordHash.Reveal()); e != nil {
			err = spec.Invalid{e}
		}
	case w.Input.Password == spec.PasswordGenerated:
		out.Secret = generated()
	}
	out.keyFiles = w.KeyFiles
	if a.given(ctx, "ssh-key") || !w.Says("access.ssh-keys") {
		if out.keyFiles, w.Input.SSHKeys = ctx.StringSlice("ssh-key"), nil; len(out.keyFiles) > 0 {
			w.Elsewhere("access.ssh-keys")
		}
	}
	keys, bad := keysOf(out.keyFiles)
	if err = several(out.locate(err), out.locate(bad)); err != nil {
		return several(err, refused())
	}
	w.Input.SSHKeys = append(w.Input.SSHKeys, keys...)
	if w.Says("access.invoker-keys") && !w.Input.InvokerKeys || !w.Input.InvokerKeys && (w.Input.Password != spec.PasswordLocked || len(w.Input.SSHKeys) > 0) {
		return nil
	}
	if out.InvokerKeys, err = invokerKeys(); err != nil {
		return err
	}
	if w.Input.InvokerKeys || len(out.InvokerKeys) > 0 {
		w.Input.InvokerKeys = true
		return nil
	}
	if list {
		return several(out.locate(spec.Invalid{{
			Field: "access", Problem: "nobody could log in to " + w.Input.Name + ": there is no password and you have no SSH keys",
			Hint: "say access: with ssh-keys, password-file or password: generated",
		}}), refused())
	}
	out.Secret, err = a.askPassword(refused)
	w.Input.Password = spec.PasswordGiven
	return err
}
