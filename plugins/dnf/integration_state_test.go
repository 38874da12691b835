//go:build integration

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// TestTheStateChangesWithAPackageAndOnlyThen: by it trees are kept. One that was
// made before a package changed must not be taken for a new one.
func TestTheStateChangesWithAPackageAndOnlyThen(t *testing.T) {
	good := testrepo.Fedora(t)
	changed := good.Flawed(t, testrepo.TamperedPackage) // which the list of packages says
	unsaid := good.Flawed(t, testrepo.StaleDatabase)    // and which it does not say
	state := func(r *testrepo.Repo, mirror string) sdk.State {
		t.Helper()
		req := request(t, r)
		req.Mirrors = []string{mirror}
		s, err := sdktest.Start(t, newPlugin()).State(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	was := state(good, good.Mirror())
	if len(was.Repository) != 1 || was.Engine == "" {
		t.Fatalf("it is %+v", was)
	}
	for name, same := range map[string]sdk.State{
		"asked again":                   state(good, good.Mirror()),
		"served":                        state(good, good.Serve(t)),
		"as the list of packages stays": state(unsaid, unsaid.Mirror()),
	} {
		if diff := cmp.Diff(was, same); diff != "" {
			t.Errorf("%s it changed:\n%s", name, diff)
		}
	}
	for name, mirror := range map[string]string{"on disk": changed.Mirror(), "served": changed.Serve(t)} {
		is := state(changed, mirror)
		for id, digest := range is.Repository {
			if was.Repository[id] == digest || was.Repository[id] == "" {
				t.Errorf("%s: a package of %s changed, and it did not: %v", name, id, is)
			}
		}
	}
}
