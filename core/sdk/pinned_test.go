package sdk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func TestWhatIsNotAsPinnedIsNamed(t *testing.T) {
	pinned := []sdk.Package{{Name: "a", Version: "1", Architecture: "x"}, {Name: "b", Version: "2", Architecture: "x"}}
	for name, tt := range map[string]struct {
		installed []sdk.Package
		want      string // empty: as pinned
	}{
		"as pinned": {[]sdk.Package{pinned[1], pinned[0]}, ""},
		"another version": {
			[]sdk.Package{pinned[0], {Name: "b", Version: "3", Architecture: "x"}}, "b is 3, pinned is 2",
		},
		"one more":             {append([]sdk.Package{{Name: "c", Version: "1", Architecture: "x"}}, pinned...), "c 1 is not pinned"},
		"one less":             {pinned[:1], "b 2 is missing"},
		"another architecture": {[]sdk.Package{pinned[0], {Name: "b", Version: "2", Architecture: "y"}}, "b 2 is not pinned; b 2 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			err := sdk.CheckPinned(pinned, tt.installed)
			var failure *sdk.Failure
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.As(err, &failure) || !strings.HasSuffix(failure.Message, ": "+tt.want) || failure.Hint == ""):
				t.Errorf("%v", err)
			}
		})
	}
	if err := sdk.CheckPinned(nil, pinned); err != nil {
		t.Errorf("without pins: %v", err)
	}
}

func TestAMomentGoesIntoTheMirrorsThatHaveAPlaceForIt(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	const form = "20060102T150405Z"
	for name, tt := range map[string]struct {
		snapshot string
		mirrors  []string
		want     []string
		refused  string // the field; empty: nothing is
	}{
		"a date": {
			"2026-11-01", []string{"https://old.example.org/$snapshot/x"}, []string{"https://old.example.org/20261101T000000Z/x"}, "",
		},
		"a moment elsewhere": {
			"2026-11-01T01:00:00+02:00", []string{"https://old.example.org/$snapshot"}, []string{"https://old.example.org/20261031T230000Z"}, "",
		},
		"no place":      {"2026-11-01", []string{"https://new.example.org"}, []string{"https://new.example.org"}, "snapshot"},
		"no mirror":     {"2026-11-01", nil, []string{}, "snapshot"},
		"no moment":     {"", []string{"https://old.example.org/$snapshot"}, []string{"https://old.example.org/$snapshot"}, "mirrors"},
		"the future":    {"2026-11-27", []string{"https://new.example.org"}, []string{"https://new.example.org"}, "snapshot"},
		"no date":       {"yesterday", []string{"https://new.example.org"}, []string{"https://new.example.org"}, "snapshot"},
		"nothing asked": {"", []string{"https://new.example.org"}, []string{"https://new.example.org"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var found sdk.Findings
			got := found.SnapshotMirrors(tt.mirrors, found.Snapshot(tt.snapshot, now), form, "https://old.example.org/$snapshot")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			refused := ""
			for _, d := range found.Diagnostics() {
				refused = d.Field
			}
			if refused != tt.refused {
				t.Errorf("%q was refused, want %q: %v", refused, tt.refused, found.Diagnostics())
			}
		})
	}
}

func TestAFileHasItsDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The vector of FIPS 180-2.
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got, err := sdk.FileSHA256(path); got != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := sdk.FileSHA256(path + "-not"); err == nil {
		t.Error("a file that is not there has one")
	}
}
