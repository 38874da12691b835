package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/blobs"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// run is one running Bootstrap.
type run struct {
	*job

	host   host
	tree   tree
	report sdk.Reporter
	blobs  *blobs.Store // nil without a cache
	// digests are those of the packages' files, by name, as the signed index
	// has them.
	digests map[string]string
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
	opened, err := target.Open(j.target)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	defer opened.Close() //nolint:errcheck // a directory that is only looked through
	r := &run{job: j, host: p.host, tree: tree{opened}, report: report, digests: map[string]string{}}
	r.openCache()
	a, err := r.fromFirst(ctx)
	if err == nil {
		err = r.finish(a)
	}
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	facts, err := r.facts(a)
	if err != nil {
		return sdk.Facts{}, sdk.AsFailure(err)
	}
	return facts, nil
}

// openCache opens the cache. A job does without one that cannot be used.
func (r *run) openCache() {
	if r.cache == "" {
		return
	}
	store, err := blobs.Open(r.cache)
	if err != nil {
		r.report.Warning(err.Error(), "downloads are not kept for the next time")
		return
	}
	r.blobs = &store
}

// fromFirst fills the tree from the first of the archives that can be reached
// and returns that.
func (r *run) fromFirst(ctx context.Context) (archive, error) {
	if len(r.archives) == 0 {
		a, err := r.toolsChoice(ctx)
		if err != nil {
			return archive{}, err
		}
		r.archives = []archive{a}
	}
	for i, a := range r.archives[:len(r.archives)-1] {
		used, err := r.fill(ctx, a)
		if err == nil {
			return used, nil
		}
		failure := sdk.AsFailure(err)
		if failure.Code != sdk.CodeMirror {
			return archive{}, failure
		}
		r.report.Warning(failure.Message, "the next mirror is tried: "+r.archives[i+1].uri)
		if err := r.startAgain(); err != nil {
			return archive{}, err
		}
	}
	return r.fill(ctx, r.archives[len(r.archives)-1])
}

// fill fills the tree from a and returns it with all that is known by then.
func (r *run) fill(ctx context.Context, a archive) (archive, error) {
	var settings []string
	if a.ofHost {
		settings = r.hostSettings(ctx)
	}
	if err := r.tree.prepare(r.job, settings); err != nil {
		return archive{}, err
	}
	if r.engine == engineMmdebstrap {
		return r.fillFromOutside(ctx, a)
	}
	return r.fillFromInside(ctx, a)
}

// startAgain empties the tree and the work directory. Nothing is removed as
// long as something is mounted in them.
func (r *run) startAgain() error {
	if err := target.NoMounts(r.target); err != nil {
		return err
	}
	if err := r.tree.Clear("."); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.work)
	if err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(r.work, entry.Name())); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
	}
	return nil
}

// command is a tool set up for this job: its temporary files in the work
// directory and its messages in English, since they are read. Lines go to see
// as well as to the user.
func (r *run) command(argv []string, see func(line string)) sdk.Command {
	env := []string{
		"LANG=C.UTF-8", "LC_ALL=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true",
	}
	if r.epoch > 0 {
		env = append(env, fmt.Sprint("SOURCE_DATE_EPOCH=", r.epoch))
	}
	switch argv[0] {
	case "chroot": // where the host's directories are not
		env = append(env, "HOME=/root", "TMPDIR=/tmp")
	case "apt-get":
		env = append(env, "HOME="+r.work, "TMPDIR="+r.work, "APT_CONFIG="+r.aptConfigPath())
	default:
		env = append(env, "HOME="+r.work, "TMPDIR="+r.work, "WGETRC="+r.wgetConfig())
	}
	return sdk.Command{
		Argv: argv,
		Dir:  r.work,
		Env:  env,
		OnLine: func(line string) {
			// Not so: mmdebstrap says it when the tree has the file already.
			if strings.HasPrefix(line, "W: Host system does not have a /etc/") {
				return
			}
			r.report.Line(line)
			if see != nil {
				see(line)
			}
		},
	}
}

// hostSettings are those of the host's apt for reaching its own mirror.
func (r *run) hostSettings(ctx context.Context) []string {
	if r.host.Find("apt-config") == "" {
		return nil
	}
	var lines []string
	dump := sdk.Command{
		Argv: []string{"apt-config", "dump"}, Dir: r.work,
		OnLine: func(line string) { lines = append(lines, line) },
	}
	if err := dump.Run(ctx); err != nil {
		r.report.Warning("the settings of this host's apt cannot be read: "+err.Error(), "they are not used")
		return nil
	}
	return fromDump(lines)
}
