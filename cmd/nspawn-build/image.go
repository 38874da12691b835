package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/images"
	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func (a *app) imageCommand() *cli.Command {
	return &cli.Command{
		Name:      "image",
		Usage:     "build an image of a distribution, and boot nothing unless --verify",
		ArgsUsage: "NAME",
		Description: "The image is the tree that create would make, before it is anybody's: without an\n" +
			"identity, root locked and nobody let in unless that is asked for. With one format PATH\n" +
			"is the file that is written; with several, or with a / at its end, it is a directory.\n" +
			"Beside the image are NAME.manifest.json, NAME.spdx.json, NAME.SHA256SUMS, NAME.lock.json\n" +
			"and NAME.log, and FILE.sha256 for each FILE of it.\n\n" +
			"With --file the spec is taken from a file, of which NAME chooses one machine.",
		Flags: append(append(imageFlags(), cacheFlags()...),
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write to `PATH` (default: the current directory)"},
			&cli.StringFlag{Name: "base", Usage: "begin with the tree of `IMAGE`, a directory or tar made before, in place of a bootstrap"},
			&cli.StringSliceFlag{Name: "push", Usage: "upload the OCI layout to the registry `REF` once all is well, such as registry.example.org/images/web:1.2; may be repeated"},
			&cli.BoolFlag{Name: "force", Usage: "replace what is there of the same names"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "take what is wanted from the spec `FILE`; - is standard input"},
			onErrorFlag(), devPluginFlag(),
			// Not with -o, which is --out here.
			&cli.StringFlag{Name: "output", Value: "text", Usage: "`FORM` of the result: text or json", EnvVars: env("output")},
		),
		Action: a.image,
	}
}

// imageFlags are those of create that mean something for an image, and its own.
func imageFlags() []cli.Flag {
	taken := []string{"distro", "release", "arch", "mirror", "keyring", "option", "package", "snapshot", "label", "password-file", "password-stdin", "password-hash", "ssh-key"}
	var flags []cli.Flag
	for _, f := range specFlags() {
		if slices.Contains(taken, f.Names()[0]) {
			flags = append(flags, f)
		}
		// Nobody is let in by a default.
		if keys, is := f.(*cli.StringSliceFlag); is && keys.Name == "ssh-key" {
			keys.Usage, keys.EnvVars = "let in the public keys of `FILE`; may be repeated (default: none)", nil
		}
		if password, is := f.(*cli.StringFlag); is && password.Name == "password-file" {
			password.EnvVars = nil
		}
	}
	own := []cli.Flag{
		&cli.StringSliceFlag{Name: "format", Usage: "write `FORMAT`: " + strings.Join(spec.ImageFormats, ", ") + "; may be repeated"},
		&cli.BoolFlag{Name: "verify", Usage: "boot the image and check that it works"},
		&cli.StringSliceFlag{Name: "check", Usage: "verify that `COMMAND` succeeds in the booted image too; may be repeated"},
		&cli.StringFlag{Name: "source-date-epoch", Usage: "let `SECONDS` since 1970 stand for every time in the image", EnvVars: []string{"SOURCE_DATE_EPOCH"}},
		&cli.StringFlag{Name: "locked", Usage: "make it of the packages of a lock `FILE`, in exactly those versions"},
		&cli.StringFlag{Name: "sign", Usage: "sign the checksums by the `KEY` of gpg, for machinectl pull-tar --verify=signature"},
	}
	return slices.Concat(flags, grouped("What is done to its tree:", customizeFlags()), grouped("The image:", own))
}

func (a *app) image(ctx *cli.Context) error {
	w, file, err := a.wantedImage(ctx)
	if err != nil {
		return err
	}
	house, err := a.imageHouse(ctx)
	if err != nil {
		return err
	}
	res, err := house.Build(ctx.Context, w)
	if err != nil {
		if res.Kept != "" {
			a.log.Warn("what was made is kept: the tree is " + res.Kept + "/root, and what was written is in " + res.Kept + "/out")
			a.log.Info(hintMark + "the next image of that name takes its place")
		}
		err = wish{file: file}.locate(err)
		v := judge(ctx.Context, err)
		res.Error = &images.Fault{Code: v.code, Message: oneLine(err), Hint: v.hint}
		if ctx.String("output") != "json" {
			return err
		}
		if printed := a.result(ctx, res, nil); printed != nil {
			return printed
		}
		return err
	}
	return a.result(ctx, res, func() {
		a.printImage(res)
		if ctx.Bool("explain-cache") {
			a.cacheExplained(res.Cache)
		}
	})
}

// imageHouse puts together what images are made with.
func (a *app) imageHouse(ctx *cli.Context) (*images.House, error) {
	house, err := a.cachingHouse(ctx)
	if err != nil {
		return nil, err
	}
	return &images.House{Machines: house, Version: version}, nil
}

// wantedImage reads a command line, and the file that it names.
func (a *app) wantedImage(ctx *cli.Context) (images.Wanted, *spec.Wish, error) {
	w := images.Wanted{Base: ctx.String("base"), Force: ctx.Bool("force")}
	if ctx.NArg() > 1 {
		return w, nil, a.severalNames(ctx)
	}
	var run spec.Run
	if err := onError(ctx, &run); err != nil {
		return w, nil, err
	}
	w.Keep = run.Keep
	w.Registry = registry.Options{Insecure: ctx.Bool("registry-insecure")}
	for _, ref := range ctx.StringSlice("push") {
		tag, err := w.Registry.Tag(ref)
		if err != nil {
			return w, nil, &usageError{"push: " + err.Error(), "name a repository and a tag: registry.example.org/images/web:1.2"}
		}
		w.Push = append(w.Push, tag)
	}
	own, file, err := a.imageWish(ctx)
	if err != nil {
		return w, file, err
	}
	locate := wish{file: file}.locate
	if w.Base != "" {
		if w.Base, err = filepath.Abs(w.Base); err != nil {
			return w, file, err
		}
		if own.Input.Distro == "" {
			if own.Input.Distro, err = images.DistroOf(w.Base); err != nil {
				return w, file, err
			}
		}
	}
	if own.Input.Distro == "" && own.Image.Lock != "" {
		if own.Input.Distro, err = images.LockedDistro(own.Image.Lock); err != nil {
			return w, file, locate(err)
		}
	}
	bad := locate(a.imageAccess(ctx, own, &w))
	own.Input.Directory = "/image" // it has none
	w.Spec, err = spec.Build(own.Input)
	bad = several(bad, locate(err), outOf(ctx, own, &w))
	w.Image, err = spec.BuildImage(own.Image)
	return w, file, several(bad, locate(err))
}

// imageWish is what the line says on top of the file.
func (a *app) imageWish(ctx *cli.Context) (own, file *spec.Wish, err error) {
	in, err := a.input(ctx, ctx.Args().First())
	if err != nil {
		return nil, nil, err
	}
	flags := &spec.Wish{Input: in, Image: spec.ImageInput{
		Formats: ctx.StringSlice("format"), Verify: ctx.Bool("verify"), Checks: ctx.StringSlice("check"),
		SourceDateEpoch: ctx.String("source-date-epoch"), Lock: ctx.String("locked"), Sign: ctx.String("sign"),
	}}
	if flags.Image.Lock != "" {
		if flags.Image.Lock, err = filepath.Abs(flags.Image.Lock); err != nil {
			return nil, nil, err
		}
	}
	if !ctx.IsSet("file") {
		return flags, nil, nil
	}
	f, err := a.readFile(ctx.String("file"))
	if err != nil {
		return nil, nil, err
	}
	chosen, err := a.choose(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	if len(chosen) != 1 {
		return nil, nil, &usageError{"the file describes several machines", "name one of them: nspawn-build image --file FILE NAME"}
	}
	own = chosen[0]
	for _, f := range spec.FileFields {
		if f.Flag != "" && !strings.HasPrefix(f.Key, "access.") && (a.given(ctx, f.Flag) || !own.Says(f.Key)) {
			f.Take(own, flags)
		}
	}
	if err := readable(own.Input.Keyring); err != nil {
		return own, own, own.Locate(err)
	}
	return own, own, nil
}

// imageAccess lets in whom the line or the file says, and nobody else.
func (a *app) imageAccess(ctx *cli.Context, own *spec.Wish, w *images.Wanted) (err error) {
	byLine := slices.ContainsFunc(passwordFlags, func(flag string) bool { return a.given(ctx, flag) })
	switch {
	case byLine:
		own.Input.Password, w.Secret, err = a.password(ctx)
	case own.PasswordFile != "":
		w.Secret, err = passwordFile("access.password-file", own.PasswordFile)
	case !own.PasswordHash.Empty():
		w.Secret = own.PasswordHash
		if e := spec.ParseHash(w.Secret.Reveal()); e != nil {
			err = spec.Invalid{e}
		}
	case own.Input.Password != spec.PasswordLocked:
		err = spec.Invalid{{
			Field: "access.password", Value: string(own.Input.Password), Problem: "gives an image no password",
			Hint: "give its hash, or leave root locked: each machine of the image would have the same",
		}}
	}
	if err != nil {
		return err
	}
	files := own.KeyFiles
	if a.given(ctx, "ssh-key") {
		files, own.Input.SSHKeys = ctx.StringSlice("ssh-key"), nil
	}
	keys, err := keysOf(files)
	if err != nil {
		return err
	}
	if own.Input.InvokerKeys {
		mine, err := invokerKeys()
		if err != nil {
			return err
		}
		keys = append(keys, mine...)
	}
	own.Input.SSHKeys = append(own.Input.SSHKeys, keys...)
	return nil
}

// outOf reads where the image goes, and its format where nothing else says it.
func outOf(ctx *cli.Context, own *spec.Wish, w *images.Wanted) error {
	out := ctx.String("out")
	if out == "" {
		out = "./"
	}
	info, err := os.Stat(out)
	w.Into = strings.HasSuffix(out, "/") || err == nil && info.IsDir() || len(own.Image.Formats) > 1
	if w.Out, err = filepath.Abs(out); err != nil {
		return err
	}
	if len(own.Image.Formats) > 0 || w.Into {
		return nil
	}
	best := ""
	for _, f := range spec.ImageFormats {
		if strings.HasSuffix(out, "."+f) && len(f) > len(best) {
			best = f
		}
	}
	if best != "" {
		own.Image.Formats = []string{best}
	}
	return nil
}

func (a *app) printImage(res images.Result) {
	a.printf("%s is built: %s, %d packages\n", res.Name, strings.TrimSpace(res.Distro+" "+res.Release), res.Packages)
	for _, art := range res.Artifacts {
		a.printf("  %-9s %s  (%s)\n", art.Format, art.Path, sizeText(art.Size))
	}
	a.printf("  digest    %s\n", res.Digest)
	for _, digest := range res.Pushed {
		a.printf("  pushed    %s\n", digest)
	}
	a.printf("  manifest  %s\n", res.Manifest)
	if res.Cache != nil && res.Cache.Hit {
		a.printf("  cache     %s\n", res.Cache.Reason)
	}
	var total float64
	var times []string
	for _, s := range res.Stages {
		times = append(times, s.Name+" "+short(seconds(s.Seconds)))
		total += s.Seconds
	}
	a.printf("  time      %s; %s in all\n", strings.Join(times, ", "), short(seconds(total)))
	if res.Verify != nil {
		a.printf("  verified  %d checks passed\n", len(res.Verify.Checks))
	}
}
