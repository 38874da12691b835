package plugins

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// spoil has the lock vouch for another program in a plugin's place, as for one
// that has run until its host was changed.
func (s *Store) spoil(t *testing.T, plugin, script string) {
	t.Helper()
	must(t, os.WriteFile(s.path(plugin), []byte(script), 0o755))
	lock, err := pluginhost.ReadLock(s.Dir)
	must(t, err)
	e := lock.Plugins[plugin]
	e.SHA256 = digestOf([]byte(script))
	lock.Plugins[plugin] = e
	must(t, lock.Write(s.Dir))
}

func TestAnUpdateReplacesAPluginThatNoLongerStarts(t *testing.T) {
	s := newStore(t)
	path := file(t, "made", program(t, says{Distros: []string{"an-os", "old-os"}}))
	good := program(t, says{Version: "2.0.0", Distros: []string{"an-os"}})
	for script, words := range map[string]string{
		"#!/bin/sh\nexit 3\n": "the one that is installed does not start: the made plugin died (exit status 3)",
		// What it was written for is gone.
		"#!/bin/sh\necho '1|2|unix|x|grpc|y'\nexec sleep 1000\n": "does not start: the made plugin speaks version 2 of the protocol",
	} {
		must(t, os.WriteFile(path, program(t, says{Distros: []string{"an-os", "old-os"}}), 0o644))
		s.install(t, Wanted{Source: path, Replace: true})
		s.spoil(t, "made", script)
		must(t, os.WriteFile(path, good, 0o644))
		u, err := s.Ask(t.Context(), "made")
		must(t, err)
		if len(u.Changes) == 0 || !strings.Contains(u.Changes[0], words) ||
			!slices.Equal(u.Changes[1:], []string{"version 1.0.0 → 2.0.0", "sha256 " + digestOf([]byte(script)) + " → " + digestOf(good), "distros -old-os"}) {
			t.Errorf("%+v", u)
		}
		if done, err := s.Apply(t.Context(), u); err != nil || done.Version != "2.0.0" {
			t.Fatalf("%+v, %v", done, err)
		}
		if l, err := s.Host.ForDistro(t.Context(), "an-os"); err != nil || l.SHA256 != digestOf(good) {
			t.Errorf("%+v, %v", l, err)
		}
	}
}

func TestAnUpdateDoesNotReplaceWhatSomebodyChanged(t *testing.T) {
	s := newStore(t)
	path := file(t, "made", program(t, says{Distros: []string{"an-os"}}))
	s.install(t, Wanted{Source: path})
	must(t, os.WriteFile(path, program(t, says{Version: "2.0.0", Distros: []string{"an-os"}}), 0o644))
	must(t, os.WriteFile(s.path("made"), []byte("tampered with"), 0o755))
	before := snapshot(t, s.Dir)
	_, err := s.Ask(t.Context(), "made")
	expect(t, err, 0, "it is not the file that was installed")
	if after := snapshot(t, s.Dir); after != before {
		t.Errorf("it was\n%sand is\n%s", before, after)
	}
}
