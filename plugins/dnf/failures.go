package main

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// symptoms are looked for in this order: what comes first is the cause of what
// comes later. A full disk makes signatures look broken, and a repository that
// cannot be read makes packages look absent.
var symptoms = append(slices.Clone(sdk.SymptomsOfDisk), []sdk.Symptom{
	{
		Says:    regexp.MustCompile(`needs [0-9.]+ ?[KMG]i?B? .*on the .* filesystem|More space needed|installing package \S+ needs`),
		Code:    sdk.CodeDisk,
		Message: "the disk is full",
		Hint:    "free some space, or choose another place with --directory",
	},
	{
		Says:    regexp.MustCompile(`^Error opening (/\S+): No such file or directory`),
		Code:    sdk.CodeMirror,
		Message: "the mirror lacks the file %s",
		Hint:    "it may just be updating: try again in some minutes, or another --mirror",
	},
	{
		Says:    regexp.MustCompile(`repomd\.xml\.asc|repomd\.xml GPG signature verification error|Error verifying signature|Bad (?:PGP|GPG|OpenPGP) signature|signature verification (?:error|failed)`),
		Code:    sdk.CodeVerification,
		Message: "the index of the repository is not signed as it should be",
		Hint:    "the mirror may have been altered, or signs no index (then leave out --option " + optionSignatures + "=required); check --mirror and --keyring",
	},
	{
		Says: regexp.MustCompile(`Public key for (\S+) is not installed|Package (\S+) is not signed` +
			`|OpenPGP check for package "([^"]+)".*: (?:The package is not signed|Import of the key)|(?:Public key|The GPG keys?|GPG key|OpenPGP key|The OpenPGP keys?).*(?:not installed|not correct|already installed but they are not correct|is not trusted)` +
			`|Key import failed|No(?:ne of the| corresponding) key|not signed with any of the|Import of (?:the )?key|no signature|is not signed|not signed` +
			`|Failing package is: (\S+)`),
		Code:    sdk.CodeVerification,
		Message: "the package %s is not signed with a key that is trusted here",
		Hint:    "name the right keys with --keyring, or use another --mirror",
	},
	{
		Says: regexp.MustCompile(`OpenPGP check for package "([^"]+)".*: Problem occurred when opening|Problem opening package (\S+)|(?:GPG|PGP) check FAILED|(?:digest|DIGEST|[Ss]ignature|SIGNATURE|[Hh]eader|[Pp]ayload).*(?:BAD|NOT OK|NOTFOUND|NOKEY|is not correct)` +
			`|does not verify|cannot be verified|package .* cannot be opened|rpmReadPackage.*(?:failed|error)|[Ss]ignature verification failed`),
		Code:    sdk.CodeVerification,
		Message: "the package %s is not what was signed",
		Hint:    "somebody may have altered it on its way: try another mirror",
	},
	{
		Says:    regexp.MustCompile(`[Cc]hecksum (?:error|doesn't match|mismatch)|checksum is different|Downloading successful, but checksum|No matching checksum|Cannot load the .*checksum|Incorrect checksum`),
		Code:    sdk.CodeVerification,
		Message: "a file is not what the index says",
		Hint:    "the mirror may just be updating: try again in some minutes, or another mirror",
	},
	{
		Says:    regexp.MustCompile(`(?:SSL|TLS|[Cc]ertificate).*(?:verify|verification|problem|expired|not trusted|peer)`),
		Code:    sdk.CodeMirror,
		Message: "the certificate of the mirror is not trusted by this host",
		Hint:    "check the clock and the ca-certificates of this host",
	},
	{
		Says:    regexp.MustCompile(`[Cc]ould ?n.t resolve host(?: ?name)?[^:]*: ?(?:Could not resolve host: )?([A-Za-z0-9.-]+)|Could not resolve host: ([A-Za-z0-9.-]+)`),
		Code:    sdk.CodeMirror,
		Message: "the name of the mirror %s cannot be resolved",
		Hint:    "check the DNS of this host, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`(?:Could ?n.t connect to server|Timeout was reached|Operation too slow|Failed to connect|Connection (?:refused|reset|timed out)|Recv failure|Failed receiving data)[^\n]* for (\S+)`),
		Code:    sdk.CodeMirror,
		Message: "the mirror cannot be reached: %s",
		Hint:    "check the network of this host, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`Cannot download (\S+\.rpm): All mirrors were tried`),
		Code:    sdk.CodeMirror,
		Message: "the mirror lacks the file %s",
		Hint:    "it may just be updating: try again in some minutes, or another --mirror",
	},
	{
		Says: regexp.MustCompile(`Status code: [0-9]+ for (\S+)|Could(?:n.t| not) read a file:// file for (\S+)|` +
			`(?:Error downloading|Failed to download) (?:packages|files|metadata)|Cannot download (\S+)|Cannot prepare internal mirrorlist|` +
			`No more mirrors to try|All mirrors were tried|Cannot load metalink|[Ff]ailed to (?:load|download) metadata (?:from|for)|Yum repo downloading error|` +
			`Invalid (?:repomd|metalink|xml)|Cannot open (\S*repomd\.xml)`),
		Code:    sdk.CodeMirror,
		Message: "the mirror lacks a file: %s",
		Hint:    "check --release and --mirror; if it is just updating, try again in some minutes",
	},
	{
		Says:    regexp.MustCompile(`Unable to find a match: (.+)|No match for argument: (\S+)|Unable to resolve argument (\S+)`),
		Code:    sdk.CodeInvalidRequest,
		Message: "packages: there is no package %s in the repositories",
		Hint:    "check its name; a --mirror has to have all packages of a machine, since only it is used",
	},
	{
		Says:    regexp.MustCompile(`conflicting requests|nothing provides|conflicts with|Failed to resolve the transaction|Problem(?: [0-9]+)?: |file .* conflicts between`),
		Code:    sdk.CodeInvalidRequest,
		Message: "the packages that were asked for cannot be installed together",
		Hint:    "the lines above say which of them is at fault",
	},
}...)

// explain says what the failure of a tool means to the user.
func (r *run) explain(failure *sdk.Failure) *sdk.Failure {
	if failure.Code == sdk.CodeHostNotReady {
		return failure
	}
	explained := failure.Explain(symptoms...)
	if explained.Code == sdk.CodeTool && explained.Hint == "" {
		explained.Hint = fmt.Sprintf("the lines above are what %s said", r.engine.program)
	}
	return explained
}
