package sdk_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func TestThePackageToInstallIsNamedForTheHost(t *testing.T) {
	names := map[string]string{sdk.FamilyDebian: "ubuntu-keyring", sdk.FamilyFedora: "ubu-keyring"}
	for osRelease, want := range map[string]string{
		"ID=debian\n": "apt-get install ubuntu-keyring",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n": "apt-get install ubuntu-keyring",
		"ID=fedora\n": "dnf install ubu-keyring",
		"ID=rocky\nID_LIKE=\"rhel centos fedora\"\n": "dnf install ubu-keyring",
		"ID=arch\n":                  "pacman -S ubuntu-keyring",
		"ID=archarm\nID_LIKE=arch\n": "pacman -S ubuntu-keyring",
		"ID=alpine\n":                "install the package ubuntu-keyring",
		"":                           "install the package ubuntu-keyring",
	} {
		host := sdk.Host{Root: fstest.MapFS{"etc/os-release": {Data: []byte(osRelease)}}}
		if got := host.InstallHint(names); got != want {
			t.Errorf("with %q the hint is %q, want %q", osRelease, got, want)
		}
	}
}

func TestHostsBelongToTheFamilyOfTheirPackageManager(t *testing.T) {
	for release, want := range map[string]string{
		"ID=debian\n":                                         "debian",
		"ID=ubuntu\nID_LIKE=debian\n":                         "debian",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n":           "debian",
		"ID=arch\n":                                           "arch",
		"ID=manjaro\nID_LIKE=arch\n":                          "arch",
		"NAME=\"Fedora Linux\"\nID=fedora\n":                  "fedora",
		"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n":      "fedora",
		"ID=nixos\n":                                          "",
		"# ID=debian\nID='opensuse-leap'\nID_LIKE='suse x'\n": "",
	} {
		host := sdk.Host{Root: fstest.MapFS{"usr/lib/os-release": {Data: []byte(release)}}}
		if got := host.Family(); got != want {
			t.Errorf("the family of %q is %q, want %q", release, got, want)
		}
	}
}

func TestInstallCommandIsTheCommandOfTheFamily(t *testing.T) {
	for family, want := range map[string]string{
		"debian": "apt-get install a b", "arch": "pacman -S a b", "fedora": "dnf install a b", "": "",
	} {
		if got := sdk.InstallCommand(family, "a", "b"); got != want {
			t.Errorf("InstallCommand(%q) = %q, want %q", family, got, want)
		}
	}
}

func TestFindingsBecomeOneFailure(t *testing.T) {
	var found sdk.Findings
	if err := found.Err(); err != nil {
		t.Errorf("nothing found is %v", err)
	}
	found.Warn("release", "old", "take a newer one")
	if err := found.Err(); err != nil {
		t.Errorf("a warning is %v", err)
	}
	found.Missing("keyring", "none here", "install one")
	found.Refuse("packages", "no such", "")
	err := found.Err()
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeHostNotReady || failure.Hint != "install one" {
		t.Errorf("the failure is %+v", failure)
	}
	if want := "keyring: none here: packages: no such"; err.Error() != want {
		t.Errorf("it says %q, want %q", err, want)
	}
	if got := len(found.Diagnostics()); got != 3 {
		t.Errorf("there are %d diagnostics, want 3", got)
	}
}

func TestOptionsHaveTheirDefaultsAndChoices(t *testing.T) {
	declared := []sdk.Option{{Name: "engine", Default: "auto", Choices: []string{"auto", "fast"}}, {Name: "extra"}}
	for name, c := range map[string]struct {
		given, want map[string]string
		wrong       int
	}{
		"defaults":   {nil, map[string]string{"engine": "auto", "extra": ""}, 0},
		"given":      {map[string]string{"engine": "fast", "extra": "x"}, map[string]string{"engine": "fast", "extra": "x"}, 0},
		"no choice":  {map[string]string{"engine": "slow"}, map[string]string{"engine": "auto", "extra": ""}, 1},
		"undeclared": {map[string]string{"x\x1b": "1"}, map[string]string{"engine": "auto", "extra": ""}, 1},
	} {
		var found sdk.Findings
		if diff := cmp.Diff(c.want, found.Options(declared, c.given)); diff != "" {
			t.Errorf("%s: values differ (-want +got):\n%s", name, diff)
		}
		if got := found.Diagnostics(); len(got) != c.wrong {
			t.Errorf("%s: findings are %+v, want %d", name, got, c.wrong)
		}
	}
}

func TestATailIsExplainedByItsFirstSymptom(t *testing.T) {
	tool := &sdk.Failure{Code: sdk.CodeTool, Message: "failed", Tail: []string{
		"gpg: BAD signature", "write: No space left on device", "cannot find package nano",
	}}
	symptoms := append(sdk.SymptomsOfDisk, sdk.Symptom{
		Says: regexp.MustCompile(`cannot find package (\S+)`), Code: sdk.CodeInvalidRequest, Message: "there is no %s", Hint: "look",
	})
	if got := tool.Explain(symptoms...); got.Code != sdk.CodeDisk || len(got.Tail) != 3 {
		t.Errorf("it is %+v", got)
	}
	if got := tool.Explain(symptoms[len(symptoms)-1]); got.Message != "there is no nano" || got.Hint != "look" {
		t.Errorf("it is %+v", got)
	}
	if got := tool.Explain(); got != tool {
		t.Errorf("without symptoms it is %+v", got)
	}
	canceled := &sdk.Failure{Code: sdk.CodeCanceled, Tail: tool.Tail}
	if got := canceled.Explain(symptoms...); got != canceled {
		t.Errorf("a cancelled job is explained as %+v", got)
	}
}

func TestErrorsOfTheDiskAreKnown(t *testing.T) {
	for _, c := range []struct {
		err  error
		want sdk.Code
	}{
		{fmt.Errorf("x: %w", syscall.ENOSPC), sdk.CodeDisk},
		{fmt.Errorf("x: %w", syscall.EROFS), sdk.CodeDisk},
		{fmt.Errorf("x: %w", os.ErrPermission), sdk.CodeDisk},
		{errors.New("x"), sdk.CodeTool},
		{fmt.Errorf("x: %w", &sdk.Failure{Code: sdk.CodeMirror}), sdk.CodeMirror},
	} {
		if got := sdk.AsFailure(c.err); got.Code != c.want {
			t.Errorf("%v has the code %d, want %d", c.err, got.Code, c.want)
		}
	}
}
