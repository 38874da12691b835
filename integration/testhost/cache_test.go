package testhost

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestACachedTreeIsBuiltOnceAndAppearsWhole(t *testing.T) {
	t.Setenv("NSPAWN_BUILD_TEST_CACHE", t.TempDir())
	var mu sync.Mutex
	built := 0
	build := func(path string) error {
		mu.Lock()
		built++
		mu.Unlock()
		return os.WriteFile(path, []byte("whole"), 0o600)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := Cached(t.Context(), "thing", []string{"a"}, build)
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "whole" {
				t.Errorf("%s: %q, %v", path, text, err)
			}
		})
	}
	all.Wait()
	if built != 1 {
		t.Errorf("built %d times", built)
	}
	other, err := Cached(t.Context(), "thing", []string{"a", ""}, build)
	if err != nil || built != 2 {
		t.Errorf("other parts have the same name %s (built %d times): %v", other, built, err)
	}
}

func TestAFailedBuildLeavesNothingToBeTakenForATree(t *testing.T) {
	t.Setenv("NSPAWN_BUILD_TEST_CACHE", t.TempDir())
	broken := errors.New("broken on purpose")
	_, err := Cached(t.Context(), "thing", nil, func(path string) error {
		return errors.Join(os.MkdirAll(filepath.Join(path, "half"), 0o755), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(cacheRoot())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), ".lock") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestSweepRemovesTheDeadAndSparesTheLiving(t *testing.T) {
	t.Setenv("NSPAWN_BUILD_TEST_CACHE", t.TempDir())
	living, release, err := ownDirectory()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	dead, endIt, err := ownDirectory()
	if err != nil {
		t.Fatal(err)
	}
	endIt()
	if _, again, err := ownDirectory(); err != nil {
		t.Fatal(err)
	} else {
		defer again()
	}
	if _, err := os.Stat(living); err != nil {
		t.Errorf("the living host's directory: %v", err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead host's directory is still there: %v", err)
	}
}
