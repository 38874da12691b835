package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/blobs"
)

// cached is what the host keeps between jobs.
type cached struct {
	store blobs.Store
	key   string // empty without a cache
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
	// The layout is that of the engine; the set is of what this very job wants.
	sum := sha256.New()
	fmt.Fprintln(sum, r.engine.five, major(r.engine.version), r.release, r.machine, r.packages, r.options[optionSignatures])
	for _, repository := range r.repositories {
		fmt.Fprintln(sum, repository.id, repository.place())
	}
	for _, key := range r.keys {
		fmt.Fprintln(sum, key.Fingerprint)
	}
	r.cached = cached{store: store, key: hex.EncodeToString(sum.Sum(nil))}
}

// takeDownloads puts what the last such job has downloaded where dnf looks for
// it. dnf checks it against the index that it fetches, and the signatures.
func (r *run) takeDownloads() error {
	if r.cached.key == "" {
		return nil
	}
	return r.cached.store.Restore(r.cached.key, r.downloadsPath())
}

// keepDownloads keeps what was downloaded. That it cannot is no reason to fail.
func (r *run) keepDownloads() {
	if r.cached.key == "" {
		return
	}
	if err := r.cached.store.Keep(r.cached.key, r.downloadsPath(), worthKeeping); err != nil {
		r.report.Warning(err.Error(), "what was downloaded is downloaded again next time")
	}
}

// trimDownloads forgets packages that are not the installed ones: older versions
// pile up otherwise.
func (r *run) trimDownloads(installed []sdk.Package) {
	if r.cached.key == "" {
		return
	}
	names := map[string]bool{}
	for _, p := range installed {
		names[fileName(p)] = true
	}
	err := r.cached.store.Trim(r.cached.key, func(file string) bool {
		return !strings.HasSuffix(file, ".rpm") || names[path.Base(file)]
	})
	if err != nil {
		r.report.Warning(err.Error(), "the cache holds more than it needs to")
	}
}

// worthKeeping are indexes and packages. Keys, locks and notes on when what was
// fetched are of one job only.
func worthKeeping(file string) bool {
	if strings.Contains(file, "/repodata/") || strings.Contains(file, "/solv/") {
		return true
	}
	switch path.Ext(file) {
	case ".rpm", ".solv", ".solvx":
		return true
	}
	return path.Base(file) == "metalink.xml" || path.Base(file) == "mirrorlist"
}
