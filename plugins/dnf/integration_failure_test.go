//go:build integration

package main

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// flaws are what may be wrong with a repository, and what the user is told.
var flaws = []struct {
	flaw     testrepo.Flaw
	code     sdk.Code
	says     string
	unsigned bool // found without a signature of the index, too
}{
	{testrepo.WrongKey, sdk.CodeVerification, "not signed", true},
	{testrepo.ExpiredKey, sdk.CodeVerification, "has expired on", true},
	{testrepo.TamperedPackage, sdk.CodeVerification, "package", true},
	{testrepo.TamperedDatabase, sdk.CodeVerification, "is not what", true},
	{testrepo.MissingSignature, sdk.CodeVerification, "not signed", true},
	{testrepo.StaleDatabase, sdk.CodeMirror, "lacks", true},
}

func TestAFlawedRepositoryIsRefused(t *testing.T) {
	good := testrepo.Fedora(t)
	for _, c := range flaws {
		flawed := good.Flawed(t, c.flaw)
		for _, served := range []bool{false, true} {
			name := c.flaw.String()
			if served {
				name += " over HTTP"
			}
			t.Run(name, func(t *testing.T) {
				req := request(t, flawed)
				if served {
					req.Mirrors = []string{flawed.Serve(t)}
					req.Options[optionSignatures] = "optional"
				}
				expectFailure(t, req, c.code, c.says)
			})
		}
	}
}

// expectFailure bootstraps what cannot be and checks what the user is told.
func expectFailure(t *testing.T, req sdk.Request, code sdk.Code, says string) {
	t.Helper()
	_, recorder, err := bootstrap(t, req)
	var failure *sdk.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("the error is %v, not a failure\n%s", err, strings.Join(recorder.Lines(), "\n"))
	}
	t.Logf("code %d: %s\nhint: %s", failure.Code, failure.Message, failure.Hint)
	if failure.Code != code || !strings.Contains(failure.Message, says) || failure.Hint == "" {
		t.Errorf("the failure is %d %q with the hint %q, want %d, a hint, and the message to say %q\n%s",
			failure.Code, failure.Message, failure.Hint, code, says, strings.Join(failure.Tail, "\n"))
	}
}

func TestAMirrorWithAnotherReleaseIsRefused(t *testing.T) {
	req := request(t, testrepo.Fedora(t).Flawed(t, testrepo.MislabeledRelease))
	req.Release = testrepo.FedoraPreviousRelease
	expectFailure(t, req, sdk.CodeMirror, "under the name of fedora "+testrepo.FedoraPreviousRelease)
}

func TestAReleaseThatTheMirrorLacksIsAMatterOfTheMirror(t *testing.T) {
	req := request(t, testrepo.Fedora(t))
	req.Release, req.Options[optionUnknown] = "99", "allow"
	expectFailure(t, req, sdk.CodeMirror, "/99/")
}

func TestAMirrorThatCannotBeReachedIsGivenUp(t *testing.T) {
	req := request(t, testrepo.Fedora(t))
	req.Mirrors = []string{"http://127.0.0.1:1/$releasever/$basearch"}
	expectFailure(t, req, sdk.CodeMirror, "http://127.0.0.1:1/")
}

func TestAnUnknownPackageIsNamed(t *testing.T) {
	req := request(t, testrepo.Fedora(t))
	req.Packages = []string{"nosuch-package"}
	expectFailure(t, req, sdk.CodeInvalidRequest, "nosuch-package")
}

func TestAFullDiskIsSaidToBeFull(t *testing.T) {
	req := request(t, testrepo.Fedora(t))
	if err := unix.Mount("tmpfs", req.Target, "tmpfs", 0, "size=60m"); err != nil {
		t.Fatal(err)
	}
	_, _, err := bootstrapAny(t, req)
	if err := unix.Unmount(req.Target, 0); err != nil {
		t.Error(err)
	}
	if failure := sdk.AsFailure(err); err == nil || failure.Code != sdk.CodeDisk || failure.Hint == "" {
		t.Errorf("the failure is %v, want one of the disk", err)
	}
}
