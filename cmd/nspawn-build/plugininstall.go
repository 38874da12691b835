package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/plugins"
	"github.com/nspawn-build/nspawn-build/core/registry"
)

func registryInsecureFlag() cli.Flag {
	return &cli.BoolFlag{Name: "registry-insecure", Usage: "let registries that are not on this host be reached without TLS", EnvVars: env("registry-insecure")}
}

// pluginStore is the directory that plugins are installed to. Plugins that are
// being worked on are none of its business.
func (a *app) pluginStore(ctx *cli.Context) (*plugins.Store, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	return &plugins.Store{
		Dir: plugins.Directory, Host: a.plugins(),
		Registry: registry.Options{Insecure: ctx.Bool("registry-insecure")},
	}, nil
}

func (a *app) pluginInstallCommand() *cli.Command {
	return &cli.Command{
		Name:      "install",
		Usage:     "install a plugin from a file or a registry",
		ArgsUsage: "SOURCE",
		Description: "SOURCE is a file called nspawn-build-plugin-NAME, or an artifact of a registry:\n" +
			"oci://HOST/REPOSITORY:TAG, or oci://HOST/REPOSITORY@sha256:DIGEST, which pins it. Its digests\n" +
			"are said and kept in plugins.lock. Before it is in place it is asked what it is, shut off\n" +
			"from the host as plugins are. Plugins run as root: install what you trust.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "sha256", Usage: "refuse a program with another SHA-256 than `DIGEST`"},
			&cli.StringFlag{Name: "key", Usage: "refuse a program, and later updates of it, not signed by the SSH public key of `FILE`"},
			&cli.BoolFlag{Name: "replace", Usage: "replace a plugin of the same name, and be used for distributions that another one makes too"},
			registryInsecureFlag(),
			outputFlag(),
		},
		Action: a.pluginInstall,
	}
}

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a *app) pluginInstall(ctx *cli.Context) error {
	if ctx.NArg() != 1 {
		return &usageError{fmt.Sprintf("plugin install takes one source, not %d", ctx.NArg()), "name a file, or an artifact: oci://registry.example.org/plugins/zypper:1.2"}
	}
	w := plugins.Wanted{
		Source: ctx.Args().First(), Replace: ctx.Bool("replace"),
		SHA256: strings.TrimPrefix(strings.ToLower(ctx.String("sha256")), "sha256:"),
	}
	if ctx.IsSet("sha256") && !sha256Form.MatchString(w.SHA256) {
		return &usageError{fmt.Sprintf("sha256: %q is not a digest", ctx.String("sha256")), "give the 64 digits that sha256sum prints"}
	}
	if ctx.IsSet("key") {
		var err error
		if w.Key, err = plugins.ReadKey(ctx.String("key")); err != nil {
			return err
		}
	}
	s, err := a.pluginStore(ctx)
	if err != nil {
		return err
	}
	done, err := s.Install(ctx.Context, w)
	if err != nil {
		return err
	}
	return a.result(ctx, done, func() { a.printInstalled(done) })
}

func (a *app) printInstalled(done plugins.Installed) {
	verb := "is installed"
	if !done.Changed {
		verb = "is installed already, as asked for"
	}
	a.printf("%s %s %s: %s\n", done.Name, done.Version, verb, done.Path)
	a.printf("  distros   %s\n", strings.Join(done.Distros, ", "))
	for _, other := range done.Instead {
		a.printf("  in place  of %s\n", other)
	}
	a.printf("  source    %s\n", done.Source)
	if done.Digest != "" {
		a.printf("  digest    %s\n", done.Digest)
	}
	a.printf("  sha256    %s\n", done.SHA256)
	switch {
	case done.Signer != "":
		a.printf("  signed by %s, as updates must be\n", done.Signer)
	case done.Unchecked:
		a.printf("  signed    and not checked: --key FILE says by whom it must be\n")
	}
}

// judgePlugin is what errors about installing plugins come to.
func judgePlugin(err error) (verdict, bool) {
	var e *plugins.Error
	if !errors.As(err, &e) {
		return verdict{}, false
	}
	code, known := map[plugins.Kind]int{
		plugins.Unfit: exitUsage, plugins.NotInstalled: exitUsage, plugins.Unreachable: exitHost, plugins.Taken: exitExists,
	}[e.Kind]
	return verdict{code, e.Hint()}, known
}
