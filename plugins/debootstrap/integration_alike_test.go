//go:build integration

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func TestTwoTreesMadeAlikeAreAlike(t *testing.T) {
	t.Parallel()
	epoch := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			sdktest.NeedTools(t, engine)
			var made []map[string]string
			var pinned []sdk.Package
			for round := range 2 {
				req := request(t, "debian", "trixie")
				req.Options[optionEngine] = engine
				req.SourceDateEpoch = epoch.Unix()
				req.Target, req.WorkDirectory = fmt.Sprint(req.Target, round), fmt.Sprint(req.WorkDirectory, "-of-another-name-", round)
				makeEmpty(t, req.Target, req.WorkDirectory)
				req.Pinned = pinned // the second time
				facts, _, err := bootstrap(t, req)
				if err != nil {
					t.Fatalf("%+v", err)
				}
				pinned = facts.Packages
				made = append(made, sdktest.Inventory(t, req.Target, epoch))
			}
			if diff := cmp.Diff(made[0], made[1]); diff != "" {
				t.Errorf("two trees that were made alike differ (-first +second):\n%s", diff)
			}
			if engine == engineMmdebstrap { // the other fails alike, but only in half a minute
				lacksAPinned(t, pinned)
			}
		})
	}
}

// lacksAPinned asks for a version that the mirror no longer has.
func lacksAPinned(t *testing.T, pinned []sdk.Package) {
	t.Helper()
	req := request(t, "debian", "trixie")
	makeEmpty(t, req.Target, req.WorkDirectory)
	req.Pinned = slices.Clone(pinned)
	i := slices.IndexFunc(pinned, func(p sdk.Package) bool { return p.Name == "systemd" })
	req.Pinned[i].Version = "257.0-1"
	_, _, err := bootstrap(t, req)
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeInvalidRequest ||
		!strings.Contains(failure.Message, "systemd") || !strings.Contains(failure.Hint, "lock") {
		t.Errorf("a pinned version that is not to be had: %#v", err)
	}
}
