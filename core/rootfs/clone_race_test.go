package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The machine that is cloned runs, and its root does what it can to have the
// host's files in the clone, or to have the host open what must not be opened.
func TestRacesWithCloneLeadNowhere(t *testing.T) {
	rounds := 15
	if testing.Short() {
		rounds = 5
	}
	w := newWorld(t).guard(t)
	plant(t, w.in("usr"), 200)
	plant(t, w.in("etc/d"), 30)
	must(t, os.WriteFile(w.in("etc/d/file"), []byte("the machine's own"), 0o644))
	must(t, os.WriteFile(w.in("etc/shadow"), []byte("the machine's own"), 0o644))
	must(t, os.WriteFile(w.in("etc/plain"), []byte("the machine's own"), 0o644))
	must(t, os.Symlink(w.outside+"/d", w.in("etc/link")))
	must(t, os.Symlink(w.outside+"/etc/shadow", w.in("etc/shadow-link")))
	must(t, unix.Mkfifo(w.in("etc/pipe"), 0o600)) // to open one for reading waits for a writer

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	etc, usr := openDir(t, w.in("etc")), openDir(t, w.in("usr"))
	var attackers sync.WaitGroup
	for _, pair := range [][2]string{{"d", "link"}, {"shadow", "shadow-link"}, {"plain", "pipe"}} {
		attackers.Go(func() {
			for ctx.Err() == nil {
				_ = unix.Renameat2(int(etc.Fd()), pair[0], int(etc.Fd()), pair[1], unix.RENAME_EXCHANGE)
			}
		})
	}
	attackers.Go(func() { // moves what is being copied to elsewhere in the tree, and out of it
		out := openDirectoryOf(t, filepath.Dir(w.path))
		defer out.Close()
		for n := 0; ctx.Err() == nil; n++ {
			from := fmt.Sprintf("usr/%d/%d", n%3, n%7)
			_ = unix.Renameat(int(usr.Fd()), from, int(etc.Fd()), "moved")
			_ = unix.Renameat(int(etc.Fd()), "moved", int(out.Fd()), "moved-out")
			_ = unix.Renameat(int(out.Fd()), "moved-out", int(usr.Fd()), from)
		}
	})
	defer attackers.Wait()
	defer cancel()

	whole := 0
	for round := range rounds {
		to := fmt.Sprintf("%s-clone-%d", w.path, round)
		_, err := w.tree.Clone(t.Context(), to, CloneOptions{})
		switch {
		case err == nil:
			whole++
		case !errors.Is(err, ErrChanged):
			t.Fatalf("round %d: %v", round, err)
		}
		noSecretIn(t, to)
	}
	t.Logf("%d of %d clones were made", whole, rounds)
}

func openDirectoryOf(t *testing.T, path string) *os.File {
	t.Helper()
	dir, err := openDirectory(path)
	must(t, err)
	return dir
}

// noSecretIn fails when a file of the host is in a tree.
func noSecretIn(t *testing.T, root string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s holds what is the host's", path)
		}
		return err
	}))
}
