package store_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func open(t *testing.T) *store.Store {
	t.Helper()
	dir := t.TempDir()
	return &store.Store{StateDir: filepath.Join(dir, "state"), RuntimeDir: filepath.Join(dir, "run")}
}

func TestRecordIsReadAsItWasWritten(t *testing.T) {
	s := open(t)
	if _, err := s.Load("box"); !errors.Is(err, store.ErrNoMachine) {
		t.Errorf("Load of nothing: %v, want ErrNoMachine", err)
	}
	want := store.Machine{Version: store.Version, Name: "box", HostKey: "ssh-ed25519 AAAA"}
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load("box")
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != want.Name || got.HostKey != want.HostKey {
		t.Errorf("Load = %+v, want %+v", got, want)
	}
}

func TestNobodyElseReadsTheRecordsWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		s := open(t)
		err := errors.Join(s.Save(store.Machine{Name: "box"}), s.Journal("box").Record("boot", pipeline.Begin))
		lock, lockErr := s.Lock("box")
		syscall.Umask(old)
		if err := errors.Join(err, lockErr); err != nil {
			t.Fatal(err)
		}
		for _, root := range []string{s.StateDir, s.RuntimeDir} {
			err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := d.Info()
				if err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("umask %o: %s has mode %o", umask, path, info.Mode().Perm())
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForgettingLeavesNothing(t *testing.T) {
	s := open(t)
	if err := errors.Join(s.Save(store.Machine{Name: "box"}), s.Journal("box").Record("boot", pipeline.Begin), s.Forget("box"), s.Forget("box")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.StateDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state directory is still there: %v", err)
	}
}

func TestListIsSortedAndPassesOverWhatIsBroken(t *testing.T) {
	s := open(t)
	for _, n := range []string{"b", "a", "c"} {
		if err := s.Save(store.Machine{Name: n}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.StateDir, "machines", "b.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := s.List()
	if err == nil || !strings.Contains(err.Error(), "record of b") {
		t.Errorf("List: %v, want the broken record named", err)
	}
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
	}
	if diff := cmp.Diff([]string{"a", "c"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestJournalKnowsWhatWasBegun(t *testing.T) {
	s := open(t)
	j := s.Journal("box")
	for _, e := range [][2]string{
		{"bootstrap", pipeline.Begin},
		{"bootstrap", pipeline.Done},
		{"network", pipeline.Begin},
		{"network", pipeline.Fail},
		{"boot", pipeline.Begin},
		{"boot", pipeline.Unmade},
	} {
		if err := j.Record(e[0], e[1]); err != nil {
			t.Fatal(err)
		}
	}
	// A crash amid writing leaves half a line.
	f, err := os.OpenFile(filepath.Join(s.StateDir, "journal", "box.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(`{"time":"2026-`)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	begun, err := j.Begun()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bootstrap", "network"}, begun); diff != "" {
		t.Errorf("begun (-want +got):\n%s", diff)
	}
	if err := j.Record("boot", pipeline.Begin); err != nil {
		t.Fatal(err)
	}
	if begun, err = j.Begun(); err != nil || len(begun) != 3 {
		t.Errorf("after the half line: begun = %v, %v; want the new entry to count", begun, err)
	}
}

func TestOneRunAtATimeHasAMachine(t *testing.T) {
	s := open(t)
	a, err := s.Lock("box")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock("box"); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second lock: %v, want ErrLocked", err)
	}
	other, err := s.Lock("other")
	if err != nil {
		t.Errorf("lock of another machine: %v", err)
	}
	if err := errors.Join(a.Release(), other.Release()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.RuntimeDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("released locks left something: %v", err)
	}
	again, err := s.Lock("box")
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestLockNeverHasTwoHoldersAlthoughItsFileComesAndGoes(t *testing.T) {
	s := open(t)
	var inside, worst int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				lock, err := s.LockAllocation(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				inside++
				worst = max(worst, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				if err := lock.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if worst != 1 {
		t.Errorf("%d held the lock at once", worst)
	}
}

func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	s := open(t)
	held, err := s.LockAllocation(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := s.LockAllocation(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("LockAllocation: %v, want the deadline", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestALockDiesWithItsHolder runs itself as the holder and kills it.
func TestALockDiesWithItsHolder(t *testing.T) {
	const variable = "NSPAWN_BUILD_TEST_LOCK_IN"
	if dir := os.Getenv(variable); dir != "" {
		s := &store.Store{StateDir: dir, RuntimeDir: dir}
		if _, err := s.Lock("box"); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("held\n")
		time.Sleep(time.Hour)
	}
	dir := t.TempDir()
	holder := exec.Command(os.Args[0], "-test.run=^TestALockDiesWithItsHolder$")
	holder.Env = append(os.Environ(), variable+"="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	s := &store.Store{StateDir: dir, RuntimeDir: dir}
	if _, err := s.Lock("box"); !errors.Is(err, store.ErrLocked) {
		t.Errorf("lock while held by another process: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	lock, err := s.Lock("box")
	if err != nil {
		t.Fatalf("lock after the holder was killed: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestUpdateThatCannotBeSavedChangesNothing(t *testing.T) {
	s := open(t)
	r := s.NewRecord(store.Machine{Name: "box"})
	if err := os.WriteFile(s.StateDir, nil, 0o600); err != nil { // in the way of the directory
		t.Fatal(err)
	}
	if err := r.Update(func(m *store.Machine) { m.Complete = true }); err == nil {
		t.Fatal("Update succeeded without a place to save to")
	}
	if r.Machine().Complete {
		t.Error("the record says what is not on disk")
	}
}
