package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// fillFromOutside makes the tree with mmdebstrap. The host's apt fetches all
// that is needed first, into the tree: so it can come out of the cache, a wrong
// package name shows before anything is unpacked, and progress has a total.
func (r *run) fillFromOutside(ctx context.Context, a archive) (archive, error) {
	if a.askSecurity {
		choice, err := r.askMmdebstrap(ctx)
		if err != nil {
			return archive{}, err
		}
		a = a.withSecurity(r.job, choice.Security)
		r.warnUnsafe(a)
	}
	if err := r.tree.useSources(r.job, a, r.fromOutside()); err != nil {
		return archive{}, err
	}
	text, err := r.tree.ReadFile(temporarySources)
	if err != nil {
		return archive{}, fmt.Errorf("target: %w", err)
	}
	if err := os.WriteFile(r.sourcesPath(), text, 0o644); err != nil {
		return archive{}, fmt.Errorf("work directory: %w", err)
	}
	var logins []string
	if a.ofHost {
		logins = hostLogins()
	}
	config := r.outsideConfig(reachable(r.target), logins)
	if err := os.WriteFile(r.aptConfigPath(), []byte(config), 0o644); err != nil {
		return archive{}, fmt.Errorf("work directory: %w", err)
	}
	count, err := r.fetch(ctx, a)
	if err != nil {
		return archive{}, err
	}
	progress := newInstallation(r.report, count)
	command := r.command(r.mmdebstrap(), progress.line)
	return a, r.tool(ctx, command)
}

// reachable reports whether apt's unprivileged user can reach path. If not, apt
// has to download as root: it would say so in a warning and do it, or fail.
func reachable(path string) bool {
	for ; path != "/"; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}

// toolsChoice asks the tool which mirrors it would use by itself. mmdebstrap
// knows by suite, so one that it certainly knows is asked for. debootstrap
// only tells once it has used them.
func (r *run) toolsChoice(ctx context.Context) (archive, error) {
	a := archive{key: r.keyring, securityKey: r.keyring, updates: r.wantsUpdates()}
	if r.security != "auto" && r.security != "none" {
		a.security = r.security
	}
	a.askSecurity = r.security == "auto" && release.SecuritySuite(r.distro, r.suite) != ""
	if r.engine != engineMmdebstrap {
		return a, nil
	}
	choice, err := r.askMmdebstrap(ctx)
	if err != nil {
		return archive{}, err
	}
	a.uri = choice.URI
	return a.withSecurity(r.job, choice.Security), nil
}

// askMmdebstrap finds the archive that mmdebstrap would use.
func (r *run) askMmdebstrap(ctx context.Context) (aptsource.Archive, error) {
	suite := r.host.releases(r.distro).Default()
	if suite == "" {
		suite = r.suite
	}
	directory := filepath.Join(r.work, "choice")
	argv := askMmdebstrap(r.architecture, suite, directory)
	if err := r.tool(ctx, r.command(argv, nil)); err != nil {
		return aptsource.Archive{}, err
	}
	f, err := os.Open(filepath.Join(directory, "etc/apt/sources.list"))
	if err != nil {
		return aptsource.Archive{}, fmt.Errorf("the sources that mmdebstrap would use: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	sources, err := aptsource.ParseList(f)
	if err != nil {
		return aptsource.Archive{}, fmt.Errorf("the sources that mmdebstrap would use: %w", err)
	}
	choice := aptsource.FindArchive(sources, r.distro, []string{suite})
	if choice.URI == "" {
		return aptsource.Archive{}, &sdk.Failure{
			Code:    sdk.CodeHostNotReady,
			Message: "mirrors: mmdebstrap knows no mirror of " + r.distro,
			Hint:    "name one with --mirror",
			Err:     errors.New("its sources for " + suite + " name none"),
		}
	}
	return choice, nil
}

// warnUnsafe says so when no place for security updates was found.
func (r *run) warnUnsafe(a archive) {
	if a.askSecurity {
		r.report.Warning("mirrors: nothing on this host says where "+r.distro+" has its security updates: the machine gets none",
			"name the place with --option "+optionSecurity+"=URI, or say none")
	}
}

// withSecurity is a with the place of security updates, if it was still asked
// for.
func (a archive) withSecurity(j *job, uri string) archive {
	if a.askSecurity && uri != "" {
		a.security, a.askSecurity = uri, false
		if a.securityKey.path == "" {
			a.securityKey = j.keyring
		}
	}
	return a
}
