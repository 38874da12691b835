package quarters

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

var trees = Kind{Prefix: "tree-"}

func TestScratchOfTheDeadIsRemovedAndNothingElse(t *testing.T) {
	parent, ctx := shortDir(t), t.Context()
	must(t, os.Chmod(parent, 0o777|os.ModeSticky))
	mine, err := trees.Scratch(ctx, parent)
	must(t, err)
	must(t, os.MkdirAll(mine.Dir+"/root/etc", 0o755))
	at := func(name string) string { return filepath.Join(parent, trees.Prefix+name) }
	// A run that was killed, and one that was killed while it removed its tree.
	must(t, os.MkdirAll(at("left")+"/root/usr/bin", 0o755))
	must(t, os.Symlink("/etc", at("left")+"/root/usr/lib"))
	must(t, os.Symlink("/etc", at("left")+"/file"))
	must(t, os.MkdirAll(at("half")+"/.nspawn-build-removing-1-2/usr", 0o755))
	for _, dir := range []string{"left", "half"} {
		must(t, os.Chmod(at(dir), 0o700))
	}
	// What only has the name.
	theirs := []string{at("open"), at("file"), at("link"), filepath.Join(parent, "other")}
	must(t, errors.Join(os.Mkdir(theirs[0], 0o700), os.Chmod(theirs[0], 0o755)))
	must(t, os.WriteFile(theirs[1], nil, 0o600))
	must(t, os.Mkdir(theirs[3], 0o700))
	must(t, os.Symlink(theirs[3], theirs[2]))
	if os.Geteuid() == 0 {
		theirs = append(theirs, at("of-another"))
		must(t, errors.Join(os.Mkdir(at("of-another"), 0o700), os.Chown(at("of-another"), 1000, 1000)))
	}
	next, err := trees.Scratch(ctx, parent)
	must(t, err)
	for _, gone := range []string{at("left"), at("half")} {
		if _, err := os.Lstat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	for _, stays := range append(theirs, mine.Dir+"/root/etc", "/etc/passwd") {
		if _, err := os.Lstat(stays); err != nil {
			t.Error(err)
		}
	}
	must(t, errors.Join(mine.Leave(ctx), next.Leave(ctx)))
	for _, gone := range []string{mine.Dir, next.Dir} {
		if _, err := os.Lstat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
}

func TestManyMayTakeScratchAtOnce(t *testing.T) {
	parent, ctx := shortDir(t), t.Context()
	var taking sync.WaitGroup
	for range 10 {
		taking.Go(func() {
			for range 10 {
				s, err := trees.Scratch(ctx, parent)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.Mkdir(s.Dir+"/root", 0o755); err != nil {
					t.Errorf("it was taken away: %v", err)
				}
				if err := s.Leave(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	taking.Wait()
	if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
