package spec_test

import (
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestATimeMayBeGivenInDays(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{"2d": 2 * day, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "30d": 30 * day, "0d": 0} {
		if got, err := spec.ParseTime(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "2days", "-1d", "1.5d", "1d24h", "1d-1h", "99999999d", "2", "1h1d"} {
		if got, err := spec.ParseTime(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
	if ttl, e := spec.ParseTTL("7d"); e != nil || time.Duration(ttl) != 7*day {
		t.Errorf("7d: %v, %v", ttl, e)
	}
}
