//go:build integration

package integration

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// The fixture's tree takes about 120 MiB, an image of it as tar.zst a third of
// that.
func TestADiskThatIsTooSmallForAnImageIsSaidAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.MustRun(t, "sh", "-c", "mkdir /srv/in && head -c 150M /dev/urandom >/srv/in/noise") // does not get smaller
	fullCache(t, h)
	c := cramp(t, h, "/srv/full")
	before := h.Calm(t)
	for _, tt := range []struct {
		name   string
		mib    int // that are left
		inodes int
		args   []string
		exit   int
		says   []string
		hint   string
	}{
		{
			"for any system", 100, 0,
			[]string{"--format", "tar.zst"},
			exitHost,
			[]string{"/srv/full/out has 100 MiB left", "an image of the smallest system takes about 1"},
			"choose another --out",
		},
		{
			"for the formats of this tree", 450, 0,
			[]string{"--format", "tar", "--format", "raw"},
			exitHost,
			[]string{"/srv/full/out has 3", "tar, raw of a tree of 1", "MiB takes about 3"},
			"ask for fewer formats",
		},
		{
			"and fills as it is customised", 200, 0,
			[]string{"--format", "tar.zst", "--copy", "/srv/in/noise:/opt/noise"},
			exitConfigure,
			[]string{"no space left on the file system /srv/full"},
			"choose another --out",
		},
		{
			"and fills as tar.zst is written", 400, 0,
			[]string{"--format", "tar.zst", "--copy", "/srv/in/noise:/opt/noise"},
			exitConfigure,
			[]string{"no space left on the file system /srv/full", "tar.zst"},
			"choose another --out",
		},
		{
			"and fills as a program writes", 400, 0,
			[]string{"--format", "squashfs", "--copy", "/srv/in/noise:/opt/noise"},
			exitConfigure,
			[]string{"no space left on the file system /srv/full", "squashfs"},
			"choose another --out",
		},
		{
			"of names", plenty >> 10, 7000,
			[]string{"--format", "directory"},
			exitConfigure,
			[]string{"left on the file system /srv/full", "directory"},
			"choose another --out",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.leave(t, tt.mib<<10)
			if tt.inodes > 0 { // of a tmpfs that has a limit
				h.MustRun(t, "mount", "-o", "remount,nr_inodes="+strconv.Itoa(tt.inodes), c.dir)
			}
			r := h.Run(t, append(imageLine("x", "/srv/full/out/", "--output", "json"), tt.args...)...)
			var b built
			if err := json.Unmarshal([]byte(r.Stdout), &b); err != nil || b.Error == nil || b.Error.Code != tt.exit || r.Exit != tt.exit {
				t.Fatalf("%v: %s", err, r)
			}
			for _, says := range tt.says {
				if !strings.Contains(b.Error.Message, says) {
					t.Errorf("it does not say %q: %s", says, b.Error.Message)
				}
			}
			if !strings.Contains(b.Error.Hint, tt.hint) {
				t.Errorf("the hint is %q, not %q", b.Error.Hint, tt.hint)
			}
			nothingLeft(t, h, before)
		})
	}
	c.leave(t, plenty)
	build(t, h, exitDone, imageLine("x", "/srv/full/out/", "--format", "tar.zst", "--copy", "/srv/in/noise:/opt/noise")...)
	h.MustRun(t, "umount", c.dir)
}

// fullCache: a tree that there is no room to keep is built all the same, and what
// was written of it is no entry.
func fullCache(t *testing.T, h *testhost.Host) {
	t.Helper()
	const dir = "/var/cache/nspawn-build"
	c := cramp(t, h, dir)
	before := h.Calm(t)
	line := imageLine("x", "/srv/out/", "--format", "tar", "--source-date-epoch", "1700000000", "--force")
	c.leave(t, 10<<10)
	r := want(t, exitDone, h.Run(t, line...))
	for _, says := range []string{"keep the tree", "no space left", "nspawn-build cache prune makes room"} {
		if !strings.Contains(strings.ToLower(r.Stderr), says) {
			t.Errorf("it does not say %q: %s", says, r)
		}
	}
	var kept []any
	list := want(t, exitDone, h.Run(t, "nspawn-build", "cache", "list", "--output", "json")).Stdout
	if err := json.Unmarshal([]byte(list), &kept); err != nil || len(kept) != 0 {
		t.Errorf("%v: half a tree is kept: %s", err, list)
	}
	sum := h.MustRun(t, "sha256sum", "/srv/out/x.tar")
	h.MustRun(t, "rm", "-r", "/srv/out")
	nothingLeft(t, h, before)
	c.leave(t, plenty)
	for _, hit := range []bool{false, true} {
		r := want(t, exitDone, h.Run(t, append(line, "--output", "json")...))
		var b struct{ Cache struct{ Hit bool } }
		if err := json.Unmarshal([]byte(r.Stdout), &b); err != nil || b.Cache.Hit != hit {
			t.Errorf("%v: a hit should be %v: %s", err, hit, r)
		}
		if again := h.MustRun(t, "sha256sum", "/srv/out/x.tar"); again != sum {
			t.Errorf("the tree is another one: %s and %s", sum, again)
		}
	}
	h.MustRun(t, "sh", "-ec", "rm -r /srv/out; umount "+dir)
	want(t, exitDone, h.Run(t, line...)) // so that it is warm
	h.MustRun(t, "rm", "-r", "/srv/out")
}
