package plugins

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile/step"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// script is a candidate that is small; it is never run but by who lists what
// there is, and then ends at once.
func script(name, version string) *candidate {
	content := []byte("#!/bin/sh\nexit 3 # " + version + "\n")
	return &candidate{
		name: name, source: "/src/" + version, content: content, sum: digestOf(content),
		description: sdk.Description{Name: name, Version: version, Distros: []sdk.Distro{{Name: name + "-os"}}},
	}
}

// failing has the n-th step fail, counted from 0; with dead, all that follow as
// well, as if the process had been killed there.
func failing(n int, dead bool) (stop func() (reached bool)) {
	at, reached := 0, false
	end := step.Watch(func(string, string) error {
		defer func() { at++ }()
		if at == n || dead && at > n {
			reached = true
			return unix.EIO
		}
		return nil
	})
	return func() bool { end(); return reached }
}

// versions are those of the plugins that are vouched for, and nothing else may
// be there of them.
func versions(t *testing.T, s *Store) []string {
	t.Helper()
	checks, err := s.Verify()
	must(t, err)
	var all []string
	for _, c := range checks {
		if strings.HasSuffix(c.Problem, "was cut short") || strings.HasSuffix(c.Problem, "is not there, and the lock lists it") {
			continue // it is as if it were not there
		}
		if c.Problem != "" {
			t.Errorf("%+v", c)
			continue
		}
		content, err := os.ReadFile(c.Path)
		must(t, err)
		_, version, _ := strings.Cut(string(content), "# ")
		all = append(all, c.Name+" "+strings.TrimSpace(version))
	}
	return all
}

// TestWhateverWriteFailsAPluginIsTheOldOneOrTheNewOne has each step of each
// operation fail once, and then the process end there.
func TestWhateverWriteFailsAPluginIsTheOldOneOrTheNewOne(t *testing.T) {
	replace := Wanted{Replace: true}
	for what, c := range map[string]struct {
		prepare   []*candidate
		do        func(s *Store) error
		old, new  []string
		tolerates bool // it may be done though a step failed
	}{
		"the first": {
			do:  func(s *Store) error { _, err := s.put(t.Context(), script("a", "1"), Wanted{}); return err },
			new: []string{"a 1"},
		},
		"one more": {
			prepare: []*candidate{script("a", "1")},
			do:      func(s *Store) error { _, err := s.put(t.Context(), script("b", "1"), Wanted{}); return err },
			old:     []string{"a 1"}, new: []string{"a 1", "b 1"},
		},
		"another in its place": {
			prepare: []*candidate{script("a", "1"), script("b", "1")},
			do:      func(s *Store) error { _, err := s.put(t.Context(), script("a", "2"), replace); return err },
			old:     []string{"a 1", "b 1"}, new: []string{"a 2", "b 1"},
		},
		"removing": {
			prepare: []*candidate{script("a", "1"), script("b", "1")},
			do: func(s *Store) error {
				_, err := s.Remove(t.Context(), "a")
				var e *Error
				if errors.As(err, &e) && e.Kind == NotInstalled {
					return nil // when it is tried again
				}
				return err
			},
			old: []string{"a 1", "b 1"}, new: []string{"b 1"},
		},
	} {
		for _, dead := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dead %t", what, dead), func(t *testing.T) {
				steps := 0
				for n := 0; ; n++ {
					s := newStore(t)
					for _, p := range c.prepare {
						_, err := s.put(t.Context(), p, replace)
						must(t, err)
					}
					stop := failing(n, dead)
					err := c.do(s)
					if !stop() {
						must(t, err)
						break
					}
					steps++
					if err == nil {
						t.Errorf("step %d fails, and nobody says so", n)
					}
					if got := versions(t, s); !slices.Equal(got, c.old) && !slices.Equal(got, c.new) {
						t.Errorf("after step %d there is %q", n, got)
					}
					// The same again converges, and leaves nothing else.
					must(t, c.do(s))
					if got := versions(t, s); !slices.Equal(got, c.new) {
						t.Errorf("after step %d and once more there is %q", n, got)
					}
					lock, err := pluginhost.ReadLock(s.Dir)
					must(t, err)
					for name, e := range lock.Plugins {
						if e.Next != nil {
							t.Errorf("after step %d and once more %s is still open", n, name)
						}
					}
					if entries, err := os.ReadDir(s.Dir); err != nil || len(entries) != len(c.new)+1 {
						t.Errorf("after step %d and once more there is %v, %v", n, entries, err)
					}
				}
				if steps < 5 {
					t.Errorf("it has %d steps", steps)
				}
			})
		}
	}
}

func TestAnInstallThatFailsLeavesNoDirectory(t *testing.T) {
	s := newStore(t)
	stop := failing(8, false) // after the directories
	_, err := s.put(t.Context(), script("a", "1"), Wanted{})
	if !stop() || err == nil {
		t.Fatalf("nothing failed: %v", err)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		entries, _ := os.ReadDir(s.Dir)
		t.Errorf("it is there: %v, %v", err, entries)
	}
}
