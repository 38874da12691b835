//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// cramped is a file system of the host that is as full as a test wants it.
type cramped struct {
	h   *testhost.Host
	dir string
}

// cramp mounts a file system over a directory of the host, with what is in it.
func cramp(t *testing.T, h *testhost.Host, dir string) cramped {
	t.Helper()
	h.MustRun(t, "sh", "-ec", `mkdir -p "$1"; mode=$(stat -c %a "$1"); mkdir /root/before; cp -a "$1/." /root/before
		mount -t tmpfs -o "size=1g,mode=$mode" none "$1"; cp -a /root/before/. "$1"; rm -r /root/before`, "sh", dir)
	return cramped{h, dir}
}

// leave leaves so many KiB free in it.
func (c cramped) leave(t *testing.T, kib int) {
	t.Helper()
	c.h.MustRun(t, "sh", "-ec", `used=$(df -k --output=used "$1" | tail -n1); mount -o "remount,size=$((used + $2))k" "$1"`, "sh", c.dir, strconv.Itoa(kib))
	free := strings.TrimSpace(c.h.MustRun(t, "sh", "-c", `df -k --output=avail "$1" | tail -n1`, "sh", c.dir))
	if free != strconv.Itoa(kib) {
		t.Fatalf("%s KiB are free and not %d", free, kib)
	}
}

const plenty = 1 << 20 // KiB

// withoutRoom makes a machine where there is no room for it.
func (c cramped) withoutRoom(t *testing.T, what string, r testhost.Result, codes ...int) {
	t.Helper()
	if !slices.Contains(codes, r.Exit) {
		t.Fatalf("%s: exit %d is not among %v: %s", what, r.Exit, codes, r)
	}
	for _, word := range []string{"left on the file system " + c.dir + ":", "hint: make room there (df "} {
		if !strings.Contains(r.Stderr, word) {
			t.Errorf("%s: it does not say %q: %s", what, word, r)
		}
	}
	if list := want(t, exitDone, c.h.Run(t, "nspawn-build", "list", "--output", "json")); strings.Contains(list.Stdout, "box") {
		t.Errorf("%s: a machine is on record still: %s", what, list)
	}
}

func TestAFullDiskIsNamedAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			t.Run("where trees are", func(t *testing.T) { fullOfTrees(t, h) })
			// Each step leaves room for one more page, of which a file takes at
			// least one: whatever is written next is what fails.
			for _, place := range []string{"/var/lib/nspawn-build", "/etc/ssh", "/etc/systemd"} {
				t.Run("in"+strings.ReplaceAll(place, "/", " "), func(t *testing.T) { fullByPages(t, h, place) })
			}
		})
	}
}

func fullOfTrees(t *testing.T, h *testhost.Host) {
	c := cramp(t, h, "/srv/full")
	defer h.Run(t, "umount", c.dir)
	before := h.Snapshot(t)
	args := fixture("box", "--directory", "/srv/full/trees")
	create(t, h, args...)
	size, err := strconv.Atoi(strings.TrimSpace(h.MustRun(t, "sh", "-c", "df -k --output=used /srv/full | tail -n1")))
	if err != nil {
		t.Fatal(err)
	}
	c.leave(t, 0)
	destroy(t, h, "box")
	nothingLeft(t, h, before)
	failed := 0
	for _, part := range []int{4, size / 100, size / 2, size * 8 / 10, size * 9 / 10, size * 95 / 100, size * 99 / 100} {
		part &^= 3 // whole pages
		c.leave(t, part)
		r := h.Run(t, args...)
		if r.Exit == exitDone { // without its journal it is smaller
			destroy(t, h, "box")
		} else {
			failed++
			c.withoutRoom(t, fmt.Sprintf("%d of %d KiB", part, size), r, exitBootstrap, exitConfigure, exitBoot, exitUnreachable)
		}
		nothingLeft(t, h, before)
	}
	if failed < 3 {
		t.Errorf("only %d times there was no room", failed)
	}
	c.leave(t, plenty)
	h.MustRun(t, "mount", "-o", "remount,nr_inodes=1000", "/srv/full")
	c.withoutRoom(t, "1000 inodes", h.Run(t, args...), exitBootstrap)
	nothingLeft(t, h, before)
	h.MustRun(t, "mount", "-o", "remount,nr_inodes=0", "/srv/full")
	create(t, h, args...)
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}

func fullByPages(t *testing.T, h *testhost.Host, dir string) {
	if !h.Exists(t, dir) {
		h.MustRun(t, "mkdir", "-m", "700", dir)
		defer h.Run(t, "rmdir", dir)
	}
	c := cramp(t, h, dir)
	defer h.Run(t, "umount", dir)
	empty := h.Snapshot(t)
	create(t, h, fixture("other")...) // so that lists get shorter and do not go
	h.MustRun(t, "nspawn-build", "stop", "other")
	before := h.Snapshot(t)
	const page, most = 4, 16
	failed := 0
	for n := 0; ; n++ {
		c.leave(t, n*page)
		r := h.Run(t, fixture("box")...)
		if r.Exit == exitDone {
			break
		}
		if failed++; failed == most {
			t.Fatalf("%d pages are not enough: %s", n, r)
		}
		c.withoutRoom(t, fmt.Sprintf("%d pages", n), r, exitHost, exitBootstrap, exitConfigure, exitBoot)
		if diff := h.Settled(t, before, 10*time.Second); diff != "" {
			t.Errorf("with %d pages this is left behind:\n%s\nthe run: %s", n, diff, r)
		}
	}
	if failed == 0 && dir != "/etc/systemd" { // of which not every host writes anything there
		t.Error("there was always room")
	}
	t.Logf("%d times there was no room", failed)
	c.leave(t, 0)
	destroy(t, h, "box")
	// A list that could not be written anew is written by the next run.
	c.leave(t, plenty)
	destroy(t, h, "other")
	if diff := h.Settled(t, empty, 10*time.Second); diff != "" {
		t.Errorf("this is left behind:\n%s", diff)
	}
}
