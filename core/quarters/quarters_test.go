package quarters

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

var plugins = Kind{Prefix: "plugin-"}

func TestWhatAKilledHostLeftIsRemovedAndNothingElse(t *testing.T) {
	dir := shortDir(t)
	mine, err := plugins.Take(dir)
	must(t, err)
	left := filepath.Join(dir, plugins.Prefix+"1")
	must(t, os.MkdirAll(left+"/plugin-dir", 0o700))
	must(t, os.Mkdir(dir+"/locks", 0o700))
	must(t, os.WriteFile(dir+"/"+plugins.Prefix+"file", nil, 0o600))
	other, err := plugins.Take(dir)
	must(t, err)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed host left is still there: %v", err)
	}
	for _, path := range []string{mine.Dir, other.Dir, dir + "/locks", dir + "/" + plugins.Prefix + "file"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	must(t, errors.Join(mine.Leave(), other.Leave()))
}

func TestManyMayTakeQuartersAtOnce(t *testing.T) {
	dir := shortDir(t)
	var taking sync.WaitGroup
	for range 20 {
		taking.Go(func() {
			for range 20 {
				q, err := plugins.Take(dir)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(q.Dir); err != nil {
					t.Errorf("it was taken away: %v", err)
				}
				if err := q.Leave(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	taking.Wait()
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestQuartersAreNotTakenWhereOthersCouldPutASocket(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"writable by all": func(d string) error { return os.Chmod(d, 0o777) },
		"a link":          func(d string) error { return errors.Join(os.Remove(d), os.Symlink("/tmp", d)) },
		"a file":          func(d string) error { return errors.Join(os.Remove(d), os.WriteFile(d, nil, 0o600)) },
	} {
		dir := shortDir(t)
		must(t, spoil(dir))
		_, err := plugins.Take(dir)
		if err == nil {
			t.Errorf("%s: it was taken", name)
		}
		var failure *sdk.Failure
		if errors.As(err, &failure) && failure.Hint == "" {
			t.Errorf("%s: no hint", name)
		}
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nb")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeClearedStaysForTheNext(t *testing.T) {
	dir := shortDir(t)
	left := filepath.Join(dir, "room-1")
	must(t, os.MkdirAll(left, 0o700))
	var asked []string
	k := Kind{Prefix: "room-", Clear: func(dir string) error {
		asked = append(asked, dir)
		return os.ErrPermission
	}}
	k.Sweep(dir)
	if _, err := os.Stat(left); err != nil {
		t.Errorf("it was removed though it could not be cleared: %v", err)
	}
	k.Clear = func(string) error { return nil }
	k.Sweep(dir)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) || len(asked) != 1 || asked[0] != left {
		t.Errorf("it is still there (%v), or was not asked about: %q", err, asked)
	}
}
