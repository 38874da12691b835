//go:build integration

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// TestTheStateChangesWithAPackageAndOnlyThen: by it trees are kept. One that was
// made before a package changed must not be taken for a new one.
func TestTheStateChangesWithAPackageAndOnlyThen(t *testing.T) {
	good := testrepo.Arch(t)
	changed := good.Flawed(t, testrepo.TamperedPackage) // one of core, which its database says
	unsaid := good.Flawed(t, testrepo.StaleDatabase)    // and one that it does not say
	for name, mirror := range map[string]func(*testrepo.Repo) string{
		"on disk": (*testrepo.Repo).Mirror,
		"served":  func(r *testrepo.Repo) string { return r.Serve(t) },
	} {
		t.Run(name, func(t *testing.T) {
			state := func(r *testrepo.Repo) map[string]string {
				t.Helper()
				s, err := sdktest.Start(t, newPlugin()).State(t.Context(), request(t, repository{mirror(r), r.Keyring}))
				if err != nil {
					t.Fatal(err)
				}
				return s.Repository
			}
			was := state(good)
			if len(was) != 2 || was["core"] == "" || was["extra"] == "" {
				t.Fatalf("it is %v", was)
			}
			if diff := cmp.Diff(was, state(good)); diff != "" {
				t.Errorf("nothing changed, and it did:\n%s", diff)
			}
			if diff := cmp.Diff(was, state(unsaid)); diff != "" {
				t.Errorf("no database changed, and it did:\n%s", diff)
			}
			is := state(changed)
			if is["core"] == was["core"] {
				t.Errorf("a package of core changed, and it did not: %v", is)
			}
			if is["extra"] != was["extra"] {
				t.Errorf("nothing of extra changed, and it did: %v and %v", was, is)
			}
		})
	}
}
