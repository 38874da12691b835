package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// run is one running Bootstrap.
type run struct {
	*job

	host   host
	tree   target.Tree
	report sdk.Reporter
	cached cached
}

// Bootstrap implements sdk.Plugin.
func (p *plugin) Bootstrap(ctx context.Context, req sdk.Request, report sdk.Reporter) (sdk.Facts, error) {
	j, found := p.host.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.Facts{}, err
	}
	if err := sdk.CheckTarget(j.target); err != nil {
		return sdk.Facts{}, fmt.Errorf("bootstrap: %w", err)
	}
	if err := sdk.CheckTarget(j.work); err != nil {
		return sdk.Facts{}, fmt.Errorf("bootstrap: work directory: %w", err)
	}
	keys, err := j.validKeys(p.host)
	if err != nil {
		return sdk.Facts{}, err
	}
	opened, err := target.Open(j.target)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	defer opened.Close() //nolint:errcheck // a directory that is only looked through
	r := &run{job: j, host: p.host, tree: opened, report: report}
	facts, err := r.make(ctx, keys)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	return facts, nil
}

// make fills the tree, looks at what has become of it, and tidies it up.
func (r *run) make(ctx context.Context, keys []pgpkeys.Key) (sdk.Facts, error) {
	if err := r.tree.Own(); err != nil {
		return sdk.Facts{}, err
	}
	if err := r.writeFiles(keys); err != nil {
		return sdk.Facts{}, err
	}
	r.openCache()
	mounts := target.NewMounts(r.tree)
	packages, err := r.fill(ctx, mounts)
	if err := errors.Join(err, mounts.Undo()); err != nil {
		return sdk.Facts{}, err
	}
	if err := r.finish(keys); err != nil {
		return sdk.Facts{}, err
	}
	return r.facts(packages)
}

// fill installs everything and returns what is installed.
func (r *run) fill(ctx context.Context, mounts *target.Mounts) ([]sdk.Package, error) {
	if err := mounts.API(); err != nil {
		return nil, err
	}
	if err := r.takeDownloads(); err != nil {
		return nil, err
	}
	progress := newProgress(r.report)
	if err := r.runDNF(ctx, r.download(), progress.downloading); err != nil {
		return nil, err
	}
	r.keepDownloads()
	if err := r.runDNF(ctx, r.install(), progress.installing); err != nil {
		return nil, err
	}
	progress.enter(phaseVerify)
	if err := r.tool(ctx, r.makeUsers(), nil); err != nil {
		return nil, err
	}
	if err := r.giveFiles(ctx); err != nil {
		return nil, err
	}
	if err := r.forgetCache(ctx); err != nil {
		return nil, err
	}
	return r.verify(ctx)
}

// runDNF runs a command of dnf's and ends the agents that it leaves behind.
func (r *run) runDNF(ctx context.Context, argv []string, see func(line string)) error {
	err := r.tool(ctx, argv, see)
	return errors.Join(err, endAgents(r.work))
}

// writeFiles puts into the work directory all that dnf reads.
func (r *run) writeFiles(keys []pgpkeys.Key) error {
	for _, directory := range []string{
		r.reposPath(), r.varsPath(), r.pluginsPath(), r.downloadsPath(), r.homePath(), filepath.Join(r.homePath(), ".config/rpm"),
	} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
	}
	files := map[string]string{
		r.configPath():     r.config(),
		r.repositoryFile(): r.repositoryConfig(len(keys)),
		// rpm looks at the one or, from 4.20 on, at the other.
		filepath.Join(r.homePath(), ".rpmmacros"):         r.macros(),
		filepath.Join(r.homePath(), ".config/rpm/macros"): r.macros(),
	}
	for i, key := range keys {
		files[r.keyPath(i)] = string(pgpkeys.Armor(key))
	}
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
	}
	return nil
}

// tool runs a command and says what its failure means. Lines go to see as well
// as to the user.
func (r *run) tool(ctx context.Context, argv []string, see func(line string)) error {
	return r.runTool(ctx, argv, func(line string) {
		r.report.Line(line)
		if see != nil {
			see(line)
		}
	})
}

// ask runs a command whose lines are an answer, not for the user.
func (r *run) ask(ctx context.Context, argv []string, see func(line string)) error {
	return r.runTool(ctx, argv, see)
}

func (r *run) runTool(ctx context.Context, argv []string, see func(line string)) error {
	// Messages are in English since they are read; the aliases of the host's dnf
	// 4 could make any command another.
	env := []string{
		"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "DNF_DISABLE_ALIASES=1",
		"HOME=" + r.homePath(), "TMPDIR=" + r.work, "XDG_CONFIG_HOME=" + filepath.Join(r.homePath(), ".config"),
	}
	if r.epoch > 0 {
		env = append(env, fmt.Sprint("SOURCE_DATE_EPOCH=", r.epoch))
	}
	if argv[0] == "chroot" { // where the host's directories are not
		env = append(env, "HOME=/root", "TMPDIR=/tmp", "XDG_CONFIG_HOME=/root/.config")
	}
	err := sdk.Command{Argv: argv, Dir: r.work, Env: env, OnLine: see}.Run(ctx)
	var failure *sdk.Failure
	if err == nil || !errors.As(err, &failure) {
		return err
	}
	explained := r.explain(failure)
	if len(r.pinned) > 0 && explained.Code == sdk.CodeInvalidRequest {
		explained.Hint = "packages are pinned: use an archive that still has them, with --snapshot, or make a new lock"
	}
	return explained
}
