//go:build integration

package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// cached is what create says of the cache of trees.
type cached struct {
	Cache struct {
		Hit               bool
		Key, Reason, Tree string
		Parts             []struct {
			Part string
			Same bool
		}
	}
	Seconds map[string]float64
}

// createCached makes a machine, without booting it unless asked, and returns
// what was said of the cache.
func createCached(t *testing.T, h *testhost.Host, args ...string) cached {
	t.Helper()
	r := want(t, exitDone, h.Run(t, append(args, "--output", "json")...))
	var c cached
	if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil {
		t.Fatalf("create did not print JSON: %v: %s", err, r)
	}
	return c
}

// kept lists the trees in the cache of a host.
func kept(t *testing.T, h *testhost.Host) (all []struct {
	Digest, Distro, Release, Tree string
	Size                          int64
},
) {
	t.Helper()
	r := want(t, exitDone, h.Run(t, "nspawn-build", "cache", "list", "--output", "json"))
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		t.Fatalf("cache list did not print JSON: %v: %s", err, r)
	}
	return all
}

const (
	rootsDirectory = "/var/cache/nspawn-build/rootfs"
	fixtureState   = "/var/lib/nspawn-build-fixture/trixie.tar.zst.state"
)

func TestTheSameMachineIsMadeAgainOfTheCache(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			first := createCached(t, h, fixture("box")...)
			if first.Cache.Hit || first.Cache.Reason != "no tree of fixture is kept" || first.Cache.Tree == "" {
				t.Errorf("the first says %+v", first.Cache)
			}
			destroy(t, h, "box")
			// What does not change the tree is no part of the key.
			r := want(t, exitDone, h.Run(t, fixture("box", "--memory-max", "1G", "--label", "a=b", "--explain-cache")...))
			for _, words := range []string{"hit: bootstrapped ", "= distro \"fixture\"", "= repository tarball \"sha256:"} {
				if !strings.Contains(r.Stdout, words) {
					t.Errorf("it does not say %q: %s", words, r)
				}
			}
			if !strings.Contains(r.Stderr, "from the cache: bootstrapped ") {
				t.Errorf("the progress does not tell: %s", r)
			}
			second := createCached(t, h, fixture("twin")...)
			if !second.Cache.Hit || second.Cache.Key != first.Cache.Key || second.Cache.Tree != first.Cache.Tree {
				t.Errorf("the second says %+v, the first %+v", second.Cache, first.Cache)
			}
			var m created
			m = create(t, h, fixture("box", "--memory-max", "1G", "--label", "a=b")...)
			checkMachine(t, h, m)
			twin := create(t, h, fixture("twin")...)
			checkMachine(t, h, twin)
			differ(t, identityOf(t, h, m), identityOf(t, h, twin))
			if all := kept(t, h); len(all) != 1 || all[0].Distro != "fixture" || all[0].Release != "trixie" || all[0].Size == 0 {
				t.Errorf("kept are %+v", all)
			}
			destroy(t, h, "box")
			destroy(t, h, "twin")
			want(t, exitDone, h.Run(t, "nspawn-build", "cache", "prune", "--all"))
			h.MustRun(t, "rm", "-r", "/var/cache/nspawn-build")
			nothingLeft(t, h, before)
		})
	}
}
