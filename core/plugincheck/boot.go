package plugincheck

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/verify"
)

// bootName is what the machine is called that is booted.
const bootName = "check"

// rungs are the rules by the names of the checks that verify makes.
var rungs = map[string]string{
	verify.Booted: "booted", verify.Address: "address", verify.DNS: "dns", verify.SSH: "sshd", verify.CleanStop: "clean-stop",
}

// Booter returns what boots a tree that a plugin has made: as the image that it
// would become, in namespaces of its own. state is a directory for what is noted
// meanwhile, and runtime that of nspawn-build.
func Booter(state, runtime string) func(ctx context.Context, tree string, facts sdk.Facts) ([]conformance.Rung, error) {
	return func(ctx context.Context, tree string, facts sdk.Facts) ([]conformance.Rung, error) {
		var all []conformance.Rung
		if unfit := prepare(ctx, filepath.Join(state, "state"), tree, facts); unfit != nil {
			// What cannot be done with the tree is the tree's fault.
			all = append(all, conformance.Rung{Name: rungs[verify.Booted], Detail: unfit.Error()})
			return all, context.Cause(ctx)
		}
		report, err := verify.Run(ctx, verify.Target{Tree: tree, Name: bootName, RuntimeDir: runtime}, nil)
		for _, c := range report.Checks {
			all = append(all, conformance.Rung{
				Name: rungs[c.Name], OK: c.OK, Skipped: c.Skipped, Detail: c.Detail, Lines: c.Journal,
			})
		}
		return all, err
	}
}

// prepare makes of a tree what an image of it would be.
func prepare(ctx context.Context, state, path string, facts sdk.Facts) error {
	wanted, err := spec.Build(spec.Input{
		Name: bootName, Distro: facts.OSRelease["ID"], Directory: "/" + bootName, Password: spec.PasswordLocked,
	})
	if err != nil {
		return err
	}
	tree, err := rootfs.Open(path)
	if err != nil {
		return err
	}
	id, err := tree.Identity()
	if err = errors.Join(err, stages.Anonymize(ctx, tree), tree.Close()); err != nil {
		return err
	}
	record := (&store.Store{StateDir: state}).NewRecord(store.Machine{
		Name: bootName, Spec: wanted, Tree: store.Tree{Path: path, Root: id}, Facts: &facts,
	})
	runner := pipeline.Runner{Stages: []pipeline.Stage{
		&stages.Password{Record: record}, &stages.Services{Record: record, Image: true}, &stages.ImageNetwork{Record: record},
	}}
	if _, err := runner.Run(ctx); err != nil {
		return fmt.Errorf("configuring the tree: %w", err)
	}
	return nil
}
