package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// run is one running Bootstrap.
type run struct {
	*job

	host     host
	tree     tree
	report   sdk.Reporter
	packages *packageCache // nil without a cache
	// fingerprints are those of the user's keys that can be trusted.
	fingerprints []string
}

// tree is the root file system that is being made.
type tree struct{ target.Tree }

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
	opened, err := target.Open(j.target)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	defer opened.Close() //nolint:errcheck // a directory that is only looked through
	r := &run{job: j, host: p.host, tree: tree{opened}, report: report}
	facts, err := r.bootstrap(ctx)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	return facts, nil
}

func (r *run) bootstrap(ctx context.Context) (facts sdk.Facts, err error) {
	if r.scratch, err = makeScratch(); err != nil {
		return sdk.Facts{}, err
	}
	// What runs there has ended with its namespace by then.
	defer func() { err = errors.Join(err, os.RemoveAll(r.scratch)) }()
	if err := os.Mkdir(filepath.Join(r.scratch, "run"), 0o700); err != nil {
		return sdk.Facts{}, err
	}
	if err := r.openPackages(); err != nil {
		return sdk.Facts{}, err
	}
	defer r.closePackages()
	if err := r.fill(ctx); err != nil {
		return sdk.Facts{}, err
	}
	entries, err := r.check(ctx)
	if err != nil {
		return sdk.Facts{}, err
	}
	if err := r.ensureTrust(ctx); err != nil {
		return sdk.Facts{}, err
	}
	if err := r.finish(); err != nil {
		return sdk.Facts{}, err
	}
	return r.facts(entries)
}

// maxScratch is how long the path of the scratch directory may be so that the
// sockets of gpg-agent in directories of it can have paths of 107 bytes.
const maxScratch = 70

// makeScratch makes a directory with a short path: the work directory's may be
// too long for sockets.
func makeScratch() (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		directory, err := os.MkdirTemp(parent, "pacstrap-")
		if err != nil {
			continue
		}
		if len(directory) <= maxScratch {
			return directory, nil
		}
		if err := os.Remove(directory); err != nil {
			return "", err
		}
	}
	return "", &sdk.Failure{
		Code: sdk.CodeHostNotReady, Message: "there is no place for temporary files whose path is short",
		Hint: "unset TMPDIR, or let it be /tmp",
	}
}

// openPackages decides where pacman puts packages. A job does without a cache
// that cannot be used.
func (r *run) openPackages() error {
	if r.cache != "" {
		packages, err := openPackageCache(r.cache)
		if err == nil {
			r.packages = packages
			r.packageD = packages.directories()
			return nil
		}
		r.report.Warning(err.Error(), "downloads are not kept for the next time")
	}
	directory := filepath.Join(r.work, "pkg")
	r.packageD = []string{directory}
	return os.MkdirAll(directory, 0o700)
}

func (r *run) closePackages() {
	if r.packages == nil {
		return
	}
	if err := r.packages.close(); err != nil {
		r.report.Warning(err.Error(), "what was downloaded is downloaded again next time")
	}
}

// fill prepares the keys and installs the packages.
func (r *run) fill(ctx context.Context) error {
	err := errors.Join(
		os.Mkdir(r.hooksPath(), 0o755),
		os.WriteFile(r.configPath(), []byte(r.pacmanConf()), 0o644),
	)
	if err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	r.report.Phase(phaseKeys)
	fingerprints, err := r.ownFingerprints(ctx)
	if err != nil {
		return err
	}
	r.fingerprints = fingerprints
	if err := r.prepareKeyring(ctx, fingerprints); err != nil {
		return err
	}
	if err := r.tools(ctx, r.initMachine(fingerprints)); err != nil {
		return err
	}
	err = r.install(ctx)
	if r.packages == nil || !r.packages.isBlamed(err) {
		return err
	}
	r.report.Warning("a package in the cache is damaged", "packages are downloaded again")
	if err := r.startAgain(); err != nil {
		return err
	}
	return r.install(ctx)
}

// startAgain empties the tree, and forgets the cache's packages. Nothing is
// removed as long as something is mounted in the tree.
func (r *run) startAgain() error {
	if err := target.NoMounts(r.target); err != nil {
		return err
	}
	if err := r.tree.Clear("."); err != nil {
		return err
	}
	r.packageD = r.packageD[:1]
	if err := os.WriteFile(r.configPath(), []byte(r.pacmanConf()), 0o644); err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	return nil
}

// install lets pacstrap fill the empty tree.
func (r *run) install(ctx context.Context) error {
	if err := r.tree.prepare(r.machineGpgDir()); err != nil {
		return err
	}
	progress := &installation{report: r.report, cached: r.packages != nil && r.packages.used()}
	if err := r.tool(ctx, r.pacstrap(), progress.line); err != nil {
		return err
	}
	progress.warn()
	return nil
}

// tools runs commands one after the other.
func (r *run) tools(ctx context.Context, commands [][]string) error {
	for _, argv := range commands {
		if err := r.tool(ctx, argv, nil); err != nil {
			return err
		}
	}
	return nil
}

// environment is that of the tools. Messages are in English, since they are
// read. HOME and TMPDIR are such that they are right in the tree as well, where
// scripts of packages inherit them.
func (r *run) environment() []string {
	env := []string{"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "HOME=/root", "TMPDIR=/tmp"}
	if r.epoch > 0 {
		env = append(env, fmt.Sprint("SOURCE_DATE_EPOCH=", r.epoch))
	}
	return env
}

// tool runs a command in an enclosure and says what its failure means.
func (r *run) tool(ctx context.Context, argv []string, see func(line string)) error {
	err := sdk.Command{
		Argv:  r.enclosed(argv),
		Dir:   r.work,
		Env:   r.environment(),
		Grace: 3 * time.Second,
		OnLine: func(line string) {
			if noise(line) {
				return
			}
			r.report.Line(line)
			if see != nil {
				see(line)
			}
		},
	}.Run(ctx)
	if err == nil {
		return nil
	}
	failure := sdk.AsFailure(err)
	// The failure is the tool's, not that of what it runs in.
	failure.Message = strings.Replace(failure.Message, "unshare", argv[0], 1)
	return r.explain(failure)
}

// output runs a command that only asks, and returns what it prints.
func (r *run) output(ctx context.Context, argv []string) ([]string, error) {
	var lines []string
	err := sdk.Command{
		Argv: r.enclosed(argv), Dir: r.work,
		Env:    r.environment(),
		OnLine: func(line string) { lines = append(lines, line) },
	}.Run(ctx)
	if err != nil {
		failure := sdk.AsFailure(err)
		failure.Message = strings.Replace(failure.Message, "unshare", argv[0], 1)
		return lines, failure
	}
	return lines, nil
}
