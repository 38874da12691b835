//go:build integration

package rootcache

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPruningKeepsWhatIsUsed(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			tree := w.tree(t, "made")
			var entries []Entry
			for i, release := range []string{"bookworm", "trixie", "sid"} {
				r := request()
				r.Release = release
				e := w.put(t, key(t, state, r), tree)
				used := time.Now().Add(time.Duration(i-10) * time.Hour)
				must(t, os.Chtimes(w.path(e.Digest, metaFile), used, used))
				entries = append(entries, e)
			}
			releases := func() (all []string) {
				list, err := w.List()
				must(t, err)
				for _, e := range list {
					all = append(all, e.Key.Release())
				}
				return all
			}
			if got := fmt.Sprint(releases()); got != "[sid trixie bookworm]" {
				t.Errorf("listed as %s", got)
			}
			// Taking is using.
			_, err := w.Take(t.Context(), entries[0].Key, filepath.Join(w.trees, "root"))
			must(t, err)
			if got := fmt.Sprint(releases()); got != "[bookworm sid trixie]" {
				t.Errorf("after one was taken they are %s", got)
			}
			removed, err := w.Prune(t.Context(), PruneOptions{MaxSize: 2 * entries[0].Size})
			must(t, err)
			if len(removed) != 1 || removed[0].Key.Release() != "trixie" {
				t.Errorf("for the size went %+v", removed)
			}
			r, err := w.open(entries[2].Digest)
			must(t, err)
			removed, err = w.Prune(t.Context(), PruneOptions{OlderThan: time.Hour})
			must(t, err)
			if len(removed) != 0 {
				t.Errorf("what is in use went: %+v", removed)
			}
			must(t, r.close())
			removed, err = w.Prune(t.Context(), PruneOptions{OlderThan: time.Hour})
			must(t, err)
			if len(removed) != 1 || removed[0].Key.Release() != "sid" {
				t.Errorf("for its age went %+v", removed)
			}
			// A bound that is less than one tree leaves the newest.
			w.MaxSize = 1
			w.put(t, entries[1].Key, tree)
			if got := fmt.Sprint(releases()); got != "[trixie]" {
				t.Errorf("under a small bound there are %s", got)
			}
			removed, err = w.Prune(t.Context(), PruneOptions{All: true})
			must(t, err)
			if len(removed) != 1 || len(releases()) != 0 || len(w.left(t)) > 0 {
				t.Errorf("of all went %+v; left: %q", removed, w.left(t))
			}
		})
	}
}
