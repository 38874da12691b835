package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/blobs"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// run is one running Bootstrap.
type run struct {
	*job

	tree   target.Tree
	report sdk.Reporter
}

// Bootstrap implements sdk.Plugin.
func (p plugin) Bootstrap(ctx context.Context, req sdk.Request, report sdk.Reporter) (sdk.Facts, error) {
	j, found := p.resolve(req)
	if err := errors.Join(found.Err(), sdk.CheckTarget(req.Target), sdk.CheckTarget(req.WorkDirectory)); err != nil {
		return sdk.Facts{}, err
	}
	tree, err := target.Open(j.Target)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	defer tree.Close() //nolint:errcheck // a directory that is only looked through
	if j.solv, err = os.MkdirTemp("/tmp", "zypper-"); err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	defer os.RemoveAll(j.solv) //nolint:errcheck // the host gives the plugin a /tmp of its own
	r := &run{job: j, tree: tree, report: report}
	facts, err := r.make(ctx)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	return facts, nil
}

// make fills the tree and leaves it as a fresh machine.
func (r *run) make(ctx context.Context) (sdk.Facts, error) {
	if err := errors.Join(r.tree.Own(), r.writeFiles()); err != nil {
		return sdk.Facts{}, err
	}
	mounts := target.NewMounts(r.tree)
	packages, err := r.fill(ctx, mounts)
	if err := errors.Join(err, mounts.Undo()); err != nil {
		return sdk.Facts{}, err
	}
	if err := target.NoMounts(r.Target); err != nil {
		return sdk.Facts{}, err
	}
	r.report.Phase("tidy")
	if err := r.finish(); err != nil {
		return sdk.Facts{}, err
	}
	return r.facts(packages)
}

func (r *run) writeFiles() error {
	files := r.files()
	for i, key := range r.keys {
		files[filepath.Base(r.keyPath(i))] = string(pgpkeys.Armor(key))
	}
	for name, content := range files {
		file := r.inWork(name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
	}
	return nil
}

// fill installs everything and returns what is installed.
func (r *run) fill(ctx context.Context, mounts *target.Mounts) ([]sdk.Package, error) {
	if err := mounts.API(); err != nil {
		return nil, err
	}
	cache := r.openCache()
	r.report.Phase("index")
	if err := r.tool(ctx, r.importKeys(), nil); err != nil {
		return nil, err
	}
	refresh := func(ctx context.Context) error { return r.tool(ctx, r.zypper("refresh"), nil) }
	if err := sdk.Retry(ctx, r.report, refresh); err != nil {
		return nil, err
	}
	if err := r.checkIndexes(); err != nil {
		return nil, err
	}
	r.report.Phase("download")
	if err := r.tool(ctx, r.install("--download-only"), sdk.Counter(r.report, "packages", downloading)); err != nil {
		return nil, err
	}
	r.report.Phase("install")
	if err := r.tool(ctx, r.install(), sdk.Counter(r.report, "packages", installing)); err != nil {
		return nil, err
	}
	packages, err := r.installed(ctx)
	if err == nil {
		cache.keep(packages)
	}
	return packages, err
}

// checkIndexes makes sure that every mirror has an index, which zypper has then
// verified: a directory of packages without one is a repository to it as well.
func (r *run) checkIndexes() error {
	for i, mirror := range r.Mirrors {
		if _, err := os.Lstat(r.inWork("cache/raw/" + repositoryID(i) + "/repodata/repomd.xml")); err != nil {
			return &sdk.Failure{
				Code: sdk.CodeMirror, Message: sdk.Quoted(mirror) + " lacks repodata/repomd.xml",
				Hint: "check --release and --mirror", Err: err,
			}
		}
	}
	return nil
}

// The exit statuses of zypper that say that all is done (zypper(8)): reboot, or
// start this program again, which a tree needs not; and a failed script.
const (
	exitReboot       = 102
	exitRestart      = 103
	exitScriptFailed = 107
)

// tool runs a command and says what its failure means. Lines go to the user and
// to see.
func (r *run) tool(ctx context.Context, argv []string, see func(line string)) error {
	err := sdk.Command{Argv: argv, Dir: r.WorkDirectory, Env: r.environment(), OnLine: func(line string) {
		r.report.Line(line)
		if see != nil {
			see(line)
		}
	}}.Run(ctx)
	var exit *exec.ExitError
	if argv[0] == "zypper" && ctx.Err() == nil && errors.As(err, &exit) {
		switch exit.ExitCode() {
		case exitScriptFailed:
			r.report.Warning("the script of a package failed", "the lines that zypper printed say which; the package may not work")
			return nil
		case exitReboot, exitRestart:
			return nil
		}
	}
	var failure *sdk.Failure
	if errors.As(err, &failure) {
		return failure.Explain(symptoms...)
	}
	return err
}

// cache keeps downloads between jobs. A job does without one that cannot be used.
type cache struct {
	*run

	store blobs.Store
	key   string // empty without a cache
}

// openCache puts what the last such job has downloaded where zypper looks for it.
// zypper compares each package with the signed index.
func (r *run) openCache() cache {
	if r.CacheDirectory == "" {
		return cache{run: r}
	}
	sum := sha256.Sum256(fmt.Append(nil, r.Release, r.Architecture, r.urls, r.wanted()))
	c := cache{run: r, key: hex.EncodeToString(sum[:])}
	var err error
	if c.store, err = blobs.Open(r.CacheDirectory); err == nil {
		err = c.store.Restore(c.key, r.inWork("cache/packages"))
	}
	if err != nil {
		r.report.Warning(err.Error(), "everything is downloaded, and not kept for the next time")
		c.key = ""
	}
	return c
}

// keep keeps the files of the packages that are installed.
func (c cache) keep(installed []sdk.Package) {
	if c.key == "" {
		return
	}
	names := map[string]bool{}
	for _, p := range installed {
		names[fileName(p)] = true
	}
	packages := c.inWork("cache/packages")
	err := os.MkdirAll(packages, 0o700) // it is not there if the mirror is a directory
	if err == nil {
		err = c.store.Keep(c.key, packages, func(file string) bool { return names[path.Base(file)] })
	}
	if err != nil {
		c.report.Warning(err.Error(), "what was downloaded is downloaded again next time")
	}
}
