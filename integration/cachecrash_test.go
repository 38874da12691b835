//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// filling is one of the ways in which a cache comes to a tree.
type filling struct {
	name    string
	prepare func(t *testing.T, h *testhost.Host)
	more    []string // arguments
	// begin and last are what is said as a tree begins to be made, and as it is
	// kept: a run is killed some time after the one or the other.
	begin, last string
	emptied     string // how the cache is, from outside where that can be
	step        int    // of the moments every so many is tried
}

var fillings = []filling{
	{
		name: "as archives", prepare: func(*testing.T, *testhost.Host) {},
		begin: "unpack\\|keep the tree", last: "keep the tree", emptied: "rm -rf " + rootsDirectory, step: 1,
	},
	{
		name: "as snapshots", prepare: onBtrfs,
		begin: "unpack\\|keep the tree", last: "keep the tree", emptied: "nspawn-build cache prune --all", step: 2,
	},
	{
		name: "from a registry", prepare: func(t *testing.T, h *testhost.Host) {
			createCached(t, h, append(fixture("box", "--no-boot"), sharing...)...)
			destroy(t, h, "box")
		},
		more: sharing, begin: "ask " + roots, last: "ask " + roots, emptied: "rm -rf " + rootsDirectory, step: 2,
	},
}

// onBtrfs has the cache and the machines of a host be on one btrfs.
func onBtrfs(t *testing.T, h *testhost.Host) {
	testhost.Require(t, "mkfs.btrfs", "losetup")
	mountBtrfs(t, h, "/srv/btrfs")
	h.MustRun(t, "sh", "-ec", `for d in /var/cache/nspawn-build /root/containers; do
		install -d -m 700 "$d" "/srv/btrfs$d" && mount --bind "/srv/btrfs$d" "$d"
		done`)
}

// Whatever moment a run is killed at, the next one finds no half tree and leaves
// nothing that nobody knows of.
func TestAKillAmidFillingTheCacheLeavesNoBadTree(t *testing.T) {
	t.Parallel()
	for _, f := range fillings {
		t.Run(f.name, func(t *testing.T) {
			h := installFixture(t, testhost.StartDirect(t, testhost.Options{Sites: map[string]http.Handler{registryName: newRegistry(t)}}))
			f.prepare(t, h)
			sum := ""
			for i := 0; i < 14; i += f.step {
				h.MustRun(t, "sh", "-c", f.emptied)
				// From the start on until some time after the tree is kept.
				h.Run(t, append([]string{
					"sh", "-c", `begin=$1 last=$2 wait=$3; shift 3
					nspawn-build --distro fixture box --no-boot "$@" >/root/log 2>&1 & pid=$!
					until grep -q "$begin" /root/log; do kill -0 $pid || break; sleep 0.02; done
					until grep -q "$last" /root/log; do kill -0 $pid || break; done
					sleep "$wait"; kill -KILL $pid; wait $pid`, "sh",
					f.begin, []string{f.last, f.begin}[i/7], fmt.Sprintf("%.3f", float64(i%7)*0.06),
				}, f.more...)...)
				createCached(t, h, append(fixture("other", "--no-boot"), f.more...)...)
				if all := kept(t, h); len(all) != 1 {
					t.Errorf("killed at %d, kept are %+v", i, all)
				}
				if got := filesOf(t, h, "other"); sum == "" {
					sum = got
				} else if got != sum {
					t.Errorf("killed at %d, the next tree is %s and not %s", i, got, sum)
				}
				if left := strings.Fields(h.MustRun(t, "sh", "-c", "ls -A "+rootsDirectory+" "+rootsDirectory+"/locks | grep '^\\.' || true")); len(left) > 0 {
					t.Errorf("killed at %d, this is left: %q", i, left)
				}
				// What is kept is whole, too.
				if third := createCached(t, h, fixture("third", "--no-boot")...); !third.Cache.Hit || filesOf(t, h, "third") != sum {
					t.Errorf("killed at %d, what is kept is another: %+v", i, third.Cache)
				}
				h.MustRun(t, "sh", "-c", "for m in box other third; do nspawn-build destroy $m || [ $? = 9 ] || exit 1; done")
			}
		})
	}
}
