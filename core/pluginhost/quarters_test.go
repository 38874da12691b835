package pluginhost

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func TestWhatAKilledHostLeftIsRemovedAndNothingElse(t *testing.T) {
	dir := shortDir(t)
	mine, err := takeQuarters(dir)
	must(t, err)
	left := filepath.Join(dir, quartersPrefix+"1")
	must(t, os.MkdirAll(left+"/plugin-dir", 0o700))
	must(t, os.Mkdir(dir+"/locks", 0o700))
	must(t, os.WriteFile(dir+"/"+quartersPrefix+"file", nil, 0o600))
	other, err := takeQuarters(dir)
	must(t, err)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed host left is still there: %v", err)
	}
	for _, path := range []string{mine.dir, other.dir, dir + "/locks", dir + "/" + quartersPrefix + "file"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	must(t, errors.Join(mine.leave(), other.leave()))
}

func TestManyMayTakeQuartersAtOnce(t *testing.T) {
	dir := shortDir(t)
	var taking sync.WaitGroup
	for range 20 {
		taking.Go(func() {
			for range 20 {
				q, err := takeQuarters(dir)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(q.dir); err != nil {
					t.Errorf("it was taken away: %v", err)
				}
				if err := q.leave(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	taking.Wait()
	expectEmpty(t, dir)
}

func TestQuartersAreNotTakenWhereOthersCouldPutASocket(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"writable by all": func(d string) error { return os.Chmod(d, 0o777) },
		"a link":          func(d string) error { return errors.Join(os.Remove(d), os.Symlink("/tmp", d)) },
		"a file":          func(d string) error { return errors.Join(os.Remove(d), os.WriteFile(d, nil, 0o600)) },
	} {
		dir := shortDir(t)
		must(t, spoil(dir))
		_, err := takeQuarters(dir)
		if err == nil {
			t.Errorf("%s: it was taken", name)
		}
		var failure *sdk.Failure
		if errors.As(err, &failure) && failure.Hint == "" {
			t.Errorf("%s: no hint", name)
		}
	}
	for _, dir := range []string{"relative", "/" + strings.Repeat("x", 60)} {
		if _, err := takeQuarters(dir); err == nil {
			t.Errorf("%s was taken", dir)
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
