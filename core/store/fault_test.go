package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile/step"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
)

// failing has the n-th step fail, counted from 0; with cut also every one after
// it, as when the power goes. It tells whether there was an n-th.
func failing(t *testing.T, n int, cut bool, with error, do func()) (reached bool) {
	t.Helper()
	at := 0
	stop := step.Watch(func(string, string) error {
		defer func() { at++ }()
		if at == n || cut && at > n {
			return with
		}
		return nil
	})
	defer stop()
	do()
	return at > n
}

// life is what is written of a machine while it is made: each of it may fail,
// and is not gone on after.
func life(s *Store) (saved int, begun []string, err error) {
	j := s.Journal("box")
	for i := 1; i <= 2; i++ {
		if err := s.Save(Machine{Name: "box", Interface: fmt.Sprintf("ve-%d", i)}); err != nil {
			return saved, begun, err
		}
		saved = i
		stage := fmt.Sprintf("stage-%d", i)
		if err := j.Record(stage, pipeline.Begin); err != nil {
			return saved, begun, err
		}
		begun = append(begun, stage)
	}
	return saved, begun, nil
}

// TestWhateverWriteFailsNothingHalfIsRead has each step of each write fail, by
// itself and as if the power were cut there.
func TestWhateverWriteFailsNothingHalfIsRead(t *testing.T) {
	for _, with := range []error{unix.ENOSPC, unix.EIO} {
		for _, cut := range []bool{false, true} {
			for n := 0; ; n++ {
				dir := filepath.Join(t.TempDir(), "state")
				s := &Store{StateDir: dir, RuntimeDir: filepath.Join(t.TempDir(), "run")}
				var saved int
				var begun []string
				var err error
				reached := failing(t, n, cut, with, func() { saved, begun, err = life(s) })
				if !reached {
					if n < 15 {
						t.Fatalf("there are only %d steps", n)
					}
					break
				}
				at := fmt.Sprintf("step %d, cut %v, %v", n, cut, with)
				if err == nil || !errors.Is(err, with) {
					t.Fatalf("%s: the error is %v", at, err)
				}
				whole(t, at, s, saved, begun)
				// The same again goes on, and nothing is left in the end.
				if _, _, err := life(s); err != nil {
					t.Fatalf("%s: again: %v", at, err)
				}
				whole(t, at, s, 2, []string{"stage-1", "stage-2"})
				if err := s.Forget("box"); err != nil {
					t.Fatalf("%s: %v", at, err)
				}
				if left, err := os.ReadDir(dir); err == nil {
					t.Fatalf("%s: left behind is %v", at, left)
				}
			}
		}
	}
}

// whole looks at what is on disk after so much was said to be written. The write
// that failed may have come through nonetheless.
func whole(t *testing.T, at string, s *Store, saved int, begun []string) {
	t.Helper()
	m, err := s.Load("box")
	switch {
	case errors.Is(err, ErrNoMachine):
		if saved > 0 {
			t.Fatalf("%s: the record is gone", at)
		}
	case err != nil:
		t.Fatalf("%s: half a record is read: %v", at, err)
	case m.Interface != fmt.Sprintf("ve-%d", saved) && m.Interface != fmt.Sprintf("ve-%d", saved+1):
		t.Fatalf("%s: %d were saved, and it is %s", at, saved, m.Interface)
	}
	if _, err := s.List(); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	have, err := s.Journal("box").Begun()
	if err != nil || len(have) < len(begun) || len(have) > len(begun)+1 || !slices.Equal(have[:len(begun)], begun) {
		t.Fatalf("%s: begun were %v, and the journal says %v: %v", at, begun, have, err)
	}
}

func TestAChangeWithoutRoomIsInHandUntilThereIs(t *testing.T) {
	s := &Store{StateDir: filepath.Join(t.TempDir(), "state"), RuntimeDir: filepath.Join(t.TempDir(), "run")}
	r := s.NewRecord(Machine{Name: "box"})
	if err := r.Update(func(*Machine) {}); err != nil {
		t.Fatal(err)
	}
	leave := func(m *Machine) { m.Leaving = true }
	failing(t, 0, true, unix.EIO, func() {
		if err := r.UpdateIfRoom(leave); !errors.Is(err, unix.EIO) || r.Machine().Leaving {
			t.Errorf("a disk that is broken: %v", err)
		}
	})
	failing(t, 0, true, unix.ENOSPC, func() {
		if err := r.UpdateIfRoom(leave); err != nil || !r.Machine().Leaving {
			t.Errorf("a disk that is full: %v", err)
		}
	})
	if m, err := s.Load("box"); err != nil || m.Leaving {
		t.Errorf("it is on disk: %v", err)
	}
	if err := r.Update(func(*Machine) {}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Load("box"); err != nil || !m.Leaving {
		t.Errorf("it is not on disk with the next: %v", err)
	}
}
