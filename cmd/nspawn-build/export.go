package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/nomad/api"
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/nomad"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func (a *app) exportCommand() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "say in another program's words what a machine is",
		Subcommands: []*cli.Command{{
			Name:      "nomad",
			Usage:     "print a job for Nomad's nspawn task driver",
			ArgsUsage: "NAME",
			Description: "The job is that of a machine that is there or, with --file, of a spec file, in JSON:\n" +
				"nomad job run -json takes it. It boots an image, see nspawn-build image.",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "take the machine from the spec `FILE`; - is standard input"},
				&cli.StringFlag{Name: "image", Usage: "`URL` that clients pull the image from, or its path or name on each of them"},
				&cli.StringFlag{Name: "image-type", Usage: "`TYPE` of what is pulled: tar or raw (default: by its name)"},
				&cli.StringFlag{Name: "image-verify", Usage: "`WAY` to verify what is pulled: checksum, signature or no (default: checksum)"},
				&cli.StringSliceFlag{Name: "datacenter", Usage: "`NAME` of a datacenter to run in; may be given more than once (default: all)"},
				&cli.IntFlag{Name: "count", Value: 1, Usage: "run `N` of them"},
			},
			Action: a.exportNomad,
		}},
	}
}

func (a *app) exportNomad(ctx *cli.Context) error {
	s, err := a.exported(ctx)
	if err != nil {
		return err
	}
	if ctx.Int("count") < 1 {
		return spec.Invalid{{Field: "count", Value: fmt.Sprint(ctx.Int("count")), Problem: "is not a number of machines", Hint: "use 1 or more"}}
	}
	job, left, err := nomad.Describe(s, nomad.Options{
		Image:       nomad.Image{Place: ctx.String("image"), Format: ctx.String("image-type"), Verify: ctx.String("image-verify")},
		Datacenters: ctx.StringSlice("datacenter"), Count: ctx.Int("count"),
	})
	if err != nil {
		return err
	}
	for _, what := range left {
		a.log.Warn("not in the job: " + what)
	}
	text, err := jobText(job)
	if err != nil {
		return err
	}
	a.printf("%s\n", text)
	return nil
}

// exported is the spec of the machine that the line or the file means.
func (a *app) exported(ctx *cli.Context) (spec.Spec, error) {
	if !ctx.IsSet("file") {
		name, err := one(ctx)
		if err != nil {
			return spec.Spec{}, err
		}
		house, err := a.house()
		if err != nil {
			return spec.Spec{}, err
		}
		m, err := house.Store.Load(name)
		return m.Spec, err
	}
	f, err := a.readFile(ctx.String("file"))
	if err != nil {
		return spec.Spec{}, err
	}
	chosen, err := a.choose(ctx, f)
	if err != nil {
		return spec.Spec{}, err
	}
	if len(chosen) != 1 {
		return spec.Spec{}, &usageError{fmt.Sprintf("%s has %d machines, and a job is of one", ctx.String("file"), len(chosen)), "name one of them"}
	}
	w := chosen[0]
	if w.Input.Directory == "" {
		w.Input.Directory = "/var/lib/machines" // the job does not say it
	}
	s, err := spec.Build(w.Input)
	var bad spec.Invalid
	if errors.As(err, &bad) {
		return s, w.Locate(bad)
	}
	return s, err
}

// jobText is the job without what it leaves to Nomad.
func jobText(job *api.Job) ([]byte, error) {
	data, err := json.Marshal(map[string]any{"Job": job})
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	return json.MarshalIndent(withoutNull(tree), "", "  ")
}

func withoutNull(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if v[key] = withoutNull(value); v[key] == nil || v[key] == "" {
				delete(v, key)
			}
		}
		return v
	case []any:
		for i := range v {
			v[i] = withoutNull(v[i])
		}
	}
	return v
}
