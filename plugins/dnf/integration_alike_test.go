//go:build integration

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

func TestTwoTreesMadeAlikeAreAlike(t *testing.T) {
	epoch := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var made []map[string]string
	var pinned []sdk.Package
	for round := range 2 {
		req := request(t, testrepo.Fedora(t))
		req.SourceDateEpoch = epoch.Unix()
		req.Target, req.WorkDirectory = fmt.Sprint(req.Target, round), fmt.Sprint(req.WorkDirectory, "-of-another-name-", round)
		makeEmpty(t, req.Target, req.WorkDirectory)
		req.Pinned = pinned // the second time
		facts, _, err := bootstrap(t, req)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		pinned = facts.Packages
		if _, err := os.Lstat(req.Target + req.WorkDirectory); err == nil {
			t.Errorf("the tree says where it was made: it has a %s", req.WorkDirectory)
		}
		made = append(made, sdktest.Inventory(t, req.Target, epoch))
	}
	if diff := cmp.Diff(made[0], made[1]); diff != "" {
		t.Errorf("two trees that were made alike differ (-first +second):\n%s", diff)
	}
	if p := pinned[0]; p.Source == "" || p.License == "" {
		t.Errorf("what is told of a package is %+v", p)
	}

	req := request(t, testrepo.Fedora(t))
	req.Pinned = slices.Clone(pinned)
	i := slices.IndexFunc(pinned, func(p sdk.Package) bool { return p.Name == "systemd" })
	req.Pinned[i].Version = "1-1"
	_, _, err := bootstrap(t, req)
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeInvalidRequest ||
		!strings.Contains(failure.Message, "systemd-1-1") || !strings.Contains(failure.Hint, "lock") {
		t.Errorf("a pinned version that is not to be had: %v", err)
	}
}
