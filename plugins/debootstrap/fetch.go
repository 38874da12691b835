package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
)

// Where apt keeps things in a tree.
const (
	listsDirectory    = "var/lib/apt/lists"
	archivesDirectory = "var/cache/apt/archives"
)

// fetch makes apt download the indexes of a and all packages that are wanted
// into the tree, as far as they do not come out of the cache, and returns how
// many packages there are.
func (r *run) fetch(ctx context.Context, a archive) (int, error) {
	if err := r.updateIndexes(ctx, a); err != nil {
		return 0, err
	}
	var files []download
	simulate := r.command(r.simulate(), nil)
	simulate.OnLine = func(line string) {
		if file, ok := parseDownload(line); ok {
			files = append(files, file)
		} else {
			r.report.Line(line)
		}
	}
	if err := r.tool(ctx, simulate); err != nil {
		return 0, err
	}
	for _, file := range files {
		r.digests[file.name] = file.digest
	}
	complete, err := r.takeFromCache(files)
	if err != nil {
		return 0, err
	}
	r.report.Phase(phaseDownload)
	if complete {
		total := uint64(len(files))
		r.report.Progress(sdk.Progress{Done: total, Total: total, Unit: unitPackages})
		return len(files), nil
	}
	command := r.command(r.download(), nil)
	command.Status = sdk.Counter(r.report, unitPackages, retrieving)
	if err := r.tool(ctx, command); err != nil {
		return 0, err
	}
	r.giveToCache(files)
	return len(files), nil
}

// updateIndexes fetches the indexes. Those of the last time are put in place
// first, so that apt asks only for what has changed since; it checks the
// signature of the release in any case.
func (r *run) updateIndexes(ctx context.Context, a archive) error {
	r.report.Phase(phaseIndex)
	// Those that debootstrap leaves are of another set.
	if err := r.tree.Clear(listsDirectory); err != nil {
		return err
	}
	key := r.indexKey(a)
	if r.blobs != nil {
		err := r.tree.Within(listsDirectory, func(lists string) error { return r.blobs.Restore(key, lists) })
		if err != nil {
			return err
		}
	}
	if err := r.tool(ctx, r.command(r.update(), nil)); err != nil {
		return err
	}
	if r.blobs != nil {
		err := r.tree.Within(listsDirectory, func(lists string) error { return r.blobs.Keep(key, lists, endingIn("")) })
		if err != nil {
			r.report.Warning(err.Error(), "the indexes are downloaded again next time")
		}
	}
	return nil
}

// indexKey names a set of indexes: jobs share it when they read the same
// sources with the same keys.
func (r *run) indexKey(a archive) string {
	sum := sha256.New()
	fmt.Fprintln(sum, r.engine, r.architecture)
	fmt.Fprint(sum, aptsource.Render("", r.sources(a, r.inMachine())))
	for _, k := range []keyring{a.key, a.securityKey} {
		keys, err := os.ReadFile(k.path)
		fmt.Fprintf(sum, "%x %v\n", sha256.Sum256(keys), err == nil)
	}
	return "index-" + hex.EncodeToString(sum.Sum(nil))
}

// download is a package file that apt would fetch.
type download struct{ name, digest string }

// printedURI is a line of apt-get --print-uris. apt quotes the URI only.
var printedURI = regexp.MustCompile(`^'[^']+' ([A-Za-z0-9][A-Za-z0-9._%+~:-]*\.deb) [0-9]+ SHA256:([0-9a-f]{64})$`)

func parseDownload(line string) (download, bool) {
	m := printedURI.FindStringSubmatch(line)
	if m == nil {
		return download{}, false
	}
	return download{name: m[1], digest: m[2]}, true
}

// debName is the name that apt and debootstrap give the file of a package.
func debName(p sdk.Package) string {
	return p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") + "_" + p.Architecture + ".deb"
}

// takeFromCache puts the files that the cache has where apt looks for them.
// apt itself would look at their names and sizes only; here they are checked
// against the digests in the signed index. It reports whether that is all of
// them.
func (r *run) takeFromCache(files []download) (complete bool, err error) {
	if r.blobs == nil {
		return false, nil
	}
	complete = len(files) > 0
	err = r.tree.Within(archivesDirectory, func(archives string) error {
		for _, file := range files {
			// What has that name and is still wanted is not the right one.
			if err := r.tree.Delete(path.Join(archivesDirectory, file.name)); err != nil {
				return err
			}
			taken, err := r.blobs.Take(file.digest, filepath.Join(archives, file.name))
			if err != nil {
				return err
			}
			complete = complete && taken
		}
		return nil
	})
	return complete, err
}

// giveToCache keeps what was downloaded for the next time. That it cannot is
// no reason to fail.
func (r *run) giveToCache(files []download) {
	if r.blobs == nil {
		return
	}
	err := r.tree.Within(archivesDirectory, func(archives string) error {
		for _, file := range files {
			if _, err := r.blobs.Put(filepath.Join(archives, file.name), file.digest); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.report.Warning(err.Error(), "the packages are downloaded again next time")
	}
}

// tool runs a command of the bootstrap and says what its failure means.
func (r *run) tool(ctx context.Context, command sdk.Command) error {
	err := command.Run(ctx)
	var failure *sdk.Failure
	if err == nil || !errors.As(err, &failure) {
		return err
	}
	return r.explain(failure)
}

func (r *run) noPackage(name string) *sdk.Failure {
	return &sdk.Failure{
		Code:    sdk.CodeInvalidRequest,
		Message: fmt.Sprintf("packages: there is no package %s in %s", sdk.Quoted(name), r.suite),
		Hint: "check its name; the components in use are " + list(r.components) +
			", more can be had with --option " + optionComponents + "=main,…",
	}
}

// endingIn is what is kept of a directory of apt's or debootstrap's: not its
// lock, nor what is in directories of it.
func endingIn(suffix string) func(name string) bool {
	return func(name string) bool {
		return strings.HasSuffix(name, suffix) && name != "lock" && !strings.Contains(name, "/")
	}
}
