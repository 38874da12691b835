//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
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
			m := create(t, h, fixture("box", "--memory-max", "1G", "--label", "a=b")...)
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

// filesOf is a sum of what the distribution has in a machine's tree, but for
// times: those that making it leaves differ.
func filesOf(t *testing.T, h *testhost.Host, name string) string {
	t.Helper()
	return h.MustRun(t, "sh", "-c", `cd "/root/containers/$1/usr" && { find . -printf '%p %y %m %U %G %l\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum`, "sh", name)
}

func TestEightMachinesAtOnceAreBootstrappedOnce(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.MustRun(t, "sh", "-ec", `for i in 1 2 3 4 5 6 7 8; do nspawn-build --distro fixture box$i --no-boot --option delay=1s --output json >/root/out$i 2>/root/err$i & done; wait`)
	made := 0
	trees := map[string]bool{}
	for i := range 8 {
		var c cached
		text := h.ReadFile(t, fmt.Sprintf("/root/out%d", i+1))
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatalf("%d: %v: %s%s", i, err, text, h.ReadFile(t, fmt.Sprintf("/root/err%d", i+1)))
		}
		if !c.Cache.Hit {
			made++
		}
		trees[c.Cache.Tree] = true
	}
	if made != 1 || len(trees) != 1 {
		t.Errorf("%d were bootstrapped, of %d trees", made, len(trees))
	}
}

func TestWhatTheRepositoryHoldsDecides(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	box := fixture("box", "--no-boot")
	again := func(args ...string) cached {
		t.Helper()
		c := createCached(t, h, append(box, args...)...)
		destroy(t, h, "box")
		return c
	}
	again()
	if c := again("--no-cache"); c.Cache.Key != "" || c.Seconds["bootstrap"] == 0 {
		t.Errorf("with --no-cache it says %+v", c.Cache)
	}
	h.WriteFile(t, fixtureState, "one\n", "0644")
	if c := again(); c.Cache.Hit || !strings.Contains(c.Cache.Reason, `repository updates "one" is new`) {
		t.Errorf("after an update it says %+v", c.Cache)
	}
	if c := again(); !c.Cache.Hit {
		t.Errorf("made again it says %+v", c.Cache)
	}
	r := want(t, exitDone, h.Run(t, append([]string{"nspawn-build", "plan", "--explain-cache", "--distro", "fixture", "box"}, "--option", "delay=0.1s")...))
	for _, words := range []string{"miss: the nearest", `! option delay is "0.1s" and was "0s"`, `= repository updates "one"`} {
		if !strings.Contains(r.Stdout, words) {
			t.Errorf("the plan does not say %q: %s", words, r)
		}
	}
	h.WriteFile(t, fixtureState, "unreachable\n", "0644")
	r = want(t, exitDone, h.Run(t, box...))
	if !strings.Contains(r.Stderr, "no cached tree is used: ") || !strings.Contains(r.Stderr, "--offline") || strings.Contains(r.Stderr, "from the cache") {
		t.Errorf("with a mirror that does not answer it says %s", r)
	}
	destroy(t, h, "box")
	if c := again("--offline"); !c.Cache.Hit || !strings.Contains(c.Cache.Reason, "nobody asked") {
		t.Errorf("offline it says %+v", c.Cache)
	}
	r = want(t, exitHost, h.Run(t, append(box, "--offline", "--package", "vim")...))
	if !strings.Contains(r.Stderr, "no tree of fixture is kept") || !strings.Contains(r.Stderr, "hint: ") {
		t.Errorf("offline, of what is not kept, it says %s", r)
	}
	// A damaged one is thrown away, said, and made anew.
	h.MustRun(t, "sh", "-c", "rm -f "+fixtureState+"; for f in "+rootsDirectory+"/*/tree.tar.zst; do printf x | dd of=$f bs=1 seek=100000 conv=notrunc status=none; done")
	r = want(t, exitDone, h.Run(t, box...))
	if !strings.Contains(r.Stderr, "is not used: its archive is not what was written") || !strings.Contains(r.Stderr, "inspect") {
		t.Errorf("of a damaged tree it says %s", r)
	}
	destroy(t, h, "box")
	if c := again(); !c.Cache.Hit {
		t.Errorf("made anew it says %+v", c.Cache)
	}
}

// On btrfs a hit is a snapshot.
func TestOnBtrfsAMachineIsASnapshotOfTheCache(t *testing.T) {
	t.Parallel()
	testhost.Require(t, "mkfs.btrfs", "losetup")
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	mountBtrfs(t, h, "/srv/btrfs")
	h.MustRun(t, "sh", "-c", "mkdir -p /srv/btrfs/cache /var/cache/nspawn-build && mount --bind /srv/btrfs/cache /var/cache/nspawn-build")
	box := fixture("box", "--directory", "/srv/btrfs/machines")
	first := createCached(t, h, box...)
	destroy(t, h, "box")
	second := createCached(t, h, box...)
	if first.Cache.Hit || !second.Cache.Hit || second.Cache.Tree != first.Cache.Tree {
		t.Errorf("the first says %+v, the second %+v", first.Cache, second.Cache)
	}
	m := create(t, h, box...)
	checkMachine(t, h, m)
	if got := h.MustRun(t, "sh", "-c", "ls "+rootsDirectory+"/[0-9a-f]*/ && stat -c %i "+rootsDirectory+"/[0-9a-f]*/tree "+m.Tree); got != "entry\ntree\n256\n256\n" {
		t.Errorf("it is kept as\n%s", got)
	}
	destroy(t, h, "box")
	want(t, exitDone, h.Run(t, "nspawn-build", "cache", "prune", "--all"))
	if left := kept(t, h); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
	h.MustRun(t, "umount", "/var/cache/nspawn-build")
}
