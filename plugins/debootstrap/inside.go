package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
)

// fillFromInside makes the tree with debootstrap, which needs no apt on the
// host and knows one suite of one archive only: so it makes the smallest
// system, and the apt in that brings the updates and everything else.
func (r *run) fillFromInside(ctx context.Context, a archive) (archive, error) {
	if err := r.runDebootstrap(ctx, a); err != nil {
		return archive{}, err
	}
	if a.uri == "" {
		a.uri = r.usedMirror()
	}
	if a.uri == "" {
		return archive{}, errors.New("debootstrap did not say which mirror it used")
	}
	if a.askSecurity {
		a = a.withSecurity(r.job, r.exampleOfApt().Security)
		r.warnUnsafe(a)
	}
	if err := r.tree.useSources(r.job, a, r.fromInside()); err != nil {
		return archive{}, err
	}
	mounts := target.NewMounts(r.tree.Tree)
	err := r.installInside(ctx, a, mounts)
	return a, errors.Join(err, mounts.Undo())
}

// runDebootstrap makes the smallest system.
func (r *run) runDebootstrap(ctx context.Context, a archive) error {
	files := map[string]string{r.wgetConfig(): "tries = 2\ntimeout = 20\n"}
	if a.key.own {
		keys, err := readKeys(a.key.path)
		if err != nil {
			return err
		}
		files[r.hostKeyring(a)] = string(keys)
	}
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
	}
	if err := os.Mkdir(r.debCache(), 0o755); err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	if err := r.restoreSets(a); err != nil {
		return err
	}
	talk := newConversation(r.report)
	command := r.command(r.debootstrap(a), nil)
	command.Status = talk.line
	err := command.Run(ctx)
	var failure *sdk.Failure
	if errors.As(err, &failure) {
		failure.Tail = append(failure.Tail, talk.errors()...)
		return r.explain(failure)
	}
	if err != nil {
		return err
	}
	r.keepSets(a)
	return r.noteDigests()
}

// noteDigests notes those of the packages that debootstrap has downloaded, and
// compared with the signed index.
func (r *run) noteDigests() error {
	entries, err := os.ReadDir(r.debCache())
	if err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".deb") {
			continue
		}
		if r.digests[entry.Name()], err = sdk.FileSHA256(filepath.Join(r.debCache(), entry.Name())); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
	}
	return nil
}

// sets are what debootstrap finds of the last time, and checks against the
// signed release: packages, and the index of them. The release itself must not
// be among it: debootstrap would not look for a newer one.
func (r *run) sets(a archive, each func(key, dir, suffix string) error) error {
	if r.blobs == nil {
		return nil
	}
	sum := sha256.Sum256(fmt.Appendln(nil, a.uri, r.suite, r.architecture, r.components))
	name := "debootstrap-" + hex.EncodeToString(sum[:])
	if err := each(name, r.debCache(), ".deb"); err != nil {
		return err
	}
	return r.tree.Within(listsDirectory, func(lists string) error { return each(name+"-index", lists, "_Packages") })
}

func (r *run) restoreSets(a archive) error {
	return r.sets(a, func(key, dir, _ string) error { return r.blobs.Restore(key, dir) })
}

func (r *run) keepSets(a archive) {
	err := r.sets(a, func(key, dir, suffix string) error { return r.blobs.Keep(key, dir, endingIn(suffix)) })
	if err != nil {
		r.report.Warning(err.Error(), "what was downloaded is downloaded again next time")
	}
}

// wgetConfig is the file that keeps debootstrap's wget from trying twenty
// times, each for as long as the kernel does.
func (r *run) wgetConfig() string { return filepath.Join(r.work, "wgetrc") }

// usedMirror is the mirror that debootstrap says it has used.
func (r *run) usedMirror() string {
	sources := r.readSources("etc/apt/sources.list", aptsource.ParseList)
	if len(sources) == 0 {
		return ""
	}
	return strings.TrimRight(sources[0].URIs[0], "/")
}

// exampleOfApt is what the distribution's apt gives as an example of sources.
func (r *run) exampleOfApt() aptsource.Archive {
	const examples = "usr/share/doc/apt/examples/"
	sources := r.readSources(examples+r.distro+".sources", aptsource.ParseStanzas)
	sources = append(sources, r.readSources(examples+"sources.list", aptsource.ParseList)...)
	suites := []string{r.suite, r.codename}
	if fields, err := sdk.ReadOSRelease(r.target); err == nil {
		suites = append(suites, fields["VERSION_CODENAME"])
	}
	return aptsource.FindArchive(sources, r.distro, suites)
}

func (r *run) readSources(name string, parse func(io.Reader) ([]aptsource.Source, error)) []aptsource.Source {
	f, err := r.tree.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read from
	sources, err := parse(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil
	}
	return sources
}

// installInside lets the apt in the tree fetch and install what is wanted. It
// sees the host's name servers only while it fetches: the resolver's package
// makes /etc/resolv.conf its own.
func (r *run) installInside(ctx context.Context, a archive, m *target.Mounts) error {
	if err := m.Proc(); err != nil {
		return err
	}
	for _, uri := range []string{a.uri, a.security} {
		if local := aptsource.LocalPath(uri); local != "" {
			if err := m.ReadOnly(local, mirrorMount(local)[1:]); err != nil {
				return err
			}
		}
	}
	servers, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the name servers of this host: %w", err)
	}
	if err := r.tree.Write("etc/resolv.conf", servers); err != nil {
		return err
	}
	count, err := r.fetch(ctx, a)
	if err != nil {
		return err
	}
	if err := r.tree.Write("etc/resolv.conf", nil); err != nil {
		return err
	}
	if err := r.tree.forbidServices(); err != nil {
		return err
	}
	progress := newInstallation(r.report, count)
	if err := r.tool(ctx, r.command(r.install(), progress.line)); err != nil {
		return err
	}
	return r.tree.Delete(policyFile)
}

// policyFile is what packages ask before they start a service
// (invoke-rc.d(8)); status 101 forbids it.
const policyFile = "usr/sbin/policy-rc.d"

func (t tree) forbidServices() error {
	if err := t.Write(policyFile, []byte("#!/bin/sh\nexit 101\n")); err != nil {
		return err
	}
	if err := t.Chmod(policyFile, 0o755); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}
