package main

import (
	"cmp"
	"regexp"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// symptoms are looked for in this order: what comes first is the cause of what
// comes later. A full disk makes signatures look broken, and a package that
// does not verify comes before the transaction that fails for it.
var symptoms = append(slices.Clone(sdk.SymptomsOfDisk), []sdk.Symptom{
	{
		Says:    regexp.MustCompile(`signature from "[^"]*" is (?:unknown|marginal) trust|key "([^"]+)" is unknown|key "([0-9A-F]+)" could not be (?:looked up|imported)|missing required (?:key)|keyring is not writable`),
		Code:    sdk.CodeVerification,
		Message: "something is signed with the key %s, which is not trusted",
		Hint:    "update the keyring package of this host, or name the right keys with --keyring",
	},
}...)

// noPackage is what pacman says about a name that it does not know.
var noPackage = regexp.MustCompile(`^error: target not found: (\S+)`)

// explain says what the failure of a tool means to the user.
func (r *run) explain(failure *sdk.Failure) *sdk.Failure {
	if failure.Code != sdk.CodeTool {
		return failure
	}
	for _, line := range failure.Tail {
		if m := noPackage.FindStringSubmatch(line); m != nil {
			return &sdk.Failure{
				Code:    sdk.CodeInvalidRequest,
				Message: "packages: there is no package or group " + sdk.Quoted(cmp.Or(m[1:]...)) + " in " + r.release,
				Hint:    "check its name with `pacman -Ss`, or at https://archlinux.org/packages",
				Tail:    failure.Tail,
			}
		}
	}
	return failure.Explain(symptoms...)
}
