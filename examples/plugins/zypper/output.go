package main

import (
	"regexp"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// What zypper prints of each package:
//
//	Retrieving package bash-5.2.37-1.x86_64 (17/138), 659.8 KiB (  1.3 MiB unpacked)
//	Retrieving: bash-5.2.37-1.x86_64 (mirror-1) (17/138), 659.8 KiB
//	(132/138) Installing: systemd-networkd-257.13-1.x86_64 [............done]
//
// The second line is that of newer versions.
var (
	downloading = regexp.MustCompile(`^(?:Retrieving(?: package|:)|In cache) (?P<item>\S+).*? \( *(?P<done>[0-9]+)/(?P<total>[0-9]+)\)`)
	installing  = regexp.MustCompile(`^\( *(?P<done>[0-9]+)/(?P<total>[0-9]+)\) Installing: (?P<item>\S+)`)
)

// symptoms are looked for in this order: what comes first is the cause of what
// comes later.
var symptoms = append(slices.Clone(sdk.SymptomsOfDisk), []sdk.Symptom{
	{
		Says:    regexp.MustCompile(`Signature verification failed|signed with (?:an )?unknown key|Unknown GPG Key|is unsigned|\[Signature verification|New repository or package signing key`),
		Code:    sdk.CodeVerification,
		Message: "the index of the repository is not signed with a key that is trusted here",
		Hint:    "name the right keys with --keyring, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`(?:[Dd]igest|[Cc]hecksum) verification failed|does not match the (?:expected )?checksum|Package (\S+) .*seems to be corrupted|(?:digest|DIGEST).*(?:BAD|NOT OK)`),
		Code:    sdk.CodeVerification,
		Message: "a file of the mirror is not what its index says: %s",
		Hint:    "somebody may have altered it on its way, or the mirror is just updating: try another mirror",
	},
	{
		Says:    regexp.MustCompile(`Could not resolve host: ([A-Za-z0-9.-]+)`),
		Code:    sdk.CodeMirror,
		Message: "the name of the mirror %s cannot be resolved",
		Hint:    "check the DNS of this host, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`Timeout exceeded when accessing '([^']+)'|Failed to connect to (\S+)|Connection (?:refused|reset|timed out)`),
		Code:    sdk.CodeMirror,
		Message: "the mirror cannot be reached: %s",
		Hint:    "check the network of this host, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`File '([^']+)' not found|Valid metadata not found at specified URL|\[([^|\]]+)\|[^\]]*\] Repository type can't be determined|Can't provide (\S+)`),
		Code:    sdk.CodeMirror,
		Message: "the mirror lacks a file: %s",
		Hint:    "check --release and --mirror; if it is just updating, try again in some minutes",
	},
	{
		Says:    regexp.MustCompile(`No provider of '([^']+)' found|'([^']+)' not found in package names|Package '([^']+)' not found`),
		Code:    sdk.CodeInvalidRequest,
		Message: "packages: there is no package %s in the repositories",
		Hint:    "check its name; all packages of a machine have to be in one of the --mirror",
	},
	{
		Says:    regexp.MustCompile(`nothing provides|Problem: |conflicts with`),
		Code:    sdk.CodeInvalidRequest,
		Message: "the packages that were asked for cannot be installed together",
		Hint:    "the lines above say which of them is at fault",
	},
}...)
