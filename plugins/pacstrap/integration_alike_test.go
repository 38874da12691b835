//go:build integration

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func TestTwoTreesMadeAlikeAreAlike(t *testing.T) {
	epoch := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var made []map[string]string
	var pinned []sdk.Package
	for round := range 2 {
		req := request(t, sound(t))
		ownCache(t, &req)
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
		if round > 0 {
			trustsItsKeys(t, req.Target)
		}
	}
	if diff := cmp.Diff(made[0], made[1]); diff != "" {
		t.Errorf("two trees that were made alike differ (-first +second):\n%s", diff)
	}
	if p := pinned[0]; p.Source == "" || p.License == "" {
		t.Errorf("what is told of a package is %+v", p)
	}

	req := request(t, sound(t))
	req.Pinned = slices.Clone(pinned)
	i := slices.IndexFunc(pinned, func(p sdk.Package) bool { return p.Name == "systemd" })
	req.Pinned[i].Version = "1-1"
	_, _, err := bootstrap(t, req)
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeInvalidRequest ||
		!strings.Contains(failure.Message, "systemd") || !strings.Contains(failure.Hint, "lock") {
		t.Errorf("a pinned version that is not to be had: %v", err)
	}
}

// trustsItsKeys does in the tree what its unit does in the machine.
func trustsItsKeys(t *testing.T, root string) {
	t.Helper()
	for _, argv := range [][]string{{"pacman-key", "--init"}, {"pacman-key", "--populate"}} {
		if out, err := exec.Command("arch-chroot", append([]string{root}, argv...)...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	out, err := exec.Command("gpg", listTrust(root + "/etc/pacman.d/gnupg")[1:]...).CombinedOutput()
	if err != nil || !trustsAny(parseKeys(strings.Split(string(out), "\n"))) {
		t.Errorf("the machine would trust no key: %v\n%s", err, out)
	}
}
