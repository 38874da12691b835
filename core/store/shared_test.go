package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestReadersShareALockAndKeepWritersOut(t *testing.T) {
	s := &Store{RuntimeDir: filepath.Join(t.TempDir(), "run")}
	first, err := s.LockShared("box")
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.LockShared("box")
	if err != nil {
		t.Fatalf("a second reader: %v", err)
	}
	for _, l := range []*Lock{first, second} {
		if _, err := s.Lock("box"); !errors.Is(err, ErrLocked) {
			t.Errorf("a writer beside a reader: %v, want ErrLocked", err)
		}
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := s.Lock("box")
	if err != nil {
		t.Fatalf("a writer after the last reader: %v", err)
	}
	if _, err := s.LockShared("box"); !errors.Is(err, ErrLocked) {
		t.Errorf("a reader beside a writer: %v, want ErrLocked", err)
	}
	if err := writer.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.RuntimeDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left of the locks: %v", err)
	}
}

func TestNoReaderEverMeetsAWriter(t *testing.T) {
	s := &Store{RuntimeDir: filepath.Join(t.TempDir(), "run")}
	var mu sync.RWMutex // TryLock fails exactly when two met that must not
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 300 {
				take, enter, leave := s.LockShared, mu.TryRLock, mu.RUnlock
				if n%2 == 0 {
					take, enter, leave = s.Lock, mu.TryLock, mu.Unlock
				}
				l, err := take("box")
				if errors.Is(err, ErrLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if !enter() {
					t.Error("a reader and a writer met")
				} else {
					leave()
				}
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
