package main

import (
	"cmp"
	"regexp"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// symptoms are looked for in this order: what comes first is the cause of what
// comes later. A full disk makes signatures look broken, a wrong key makes a
// release look absent.
var symptoms = append(slices.Clone(sdk.SymptomsOfDisk), []sdk.Symptom{
	{
		Says:    regexp.MustCompile(`Release file for (\S+) is (?:expired|not valid yet)`),
		Code:    sdk.CodeVerification,
		Message: "the release at %s is not valid today",
		Hint:    "check the clock of this host; a mirror that is behind serves expired releases",
	},
	{
		Says:    regexp.MustCompile(`NO_PUBKEY ([0-9A-F]+)|Missing key ([0-9A-F]+)|signed by unknown key \(key id ([0-9A-F]+)\)`),
		Code:    sdk.CodeVerification,
		Message: "the release is signed with the key %s, which is not in the keyring",
		Hint:    "update the keyring package of this host, or name the right keys with --keyring",
	},
	{
		Says:    regexp.MustCompile(`EXPKEYSIG ([0-9A-F]+)|KEYEXPIRED`),
		Code:    sdk.CodeVerification,
		Message: "the release is signed with the key %s, which has expired",
		Hint:    "update the keyring package of this host",
	},
	{
		Says: regexp.MustCompile(`BADSIG|BADRELSIG|Invalid Release signature|signatures? (?:were|was|is) invalid|invalid signature|` +
			`is not signed|NODATA|NOSPLIT|Clearsigned file isn't valid|OpenPGP signature verification failed|` +
			`Sub-process .*sqv returned an error|Error executing gpgv|NOGETRELSIG|not trusted`),
		Code:    sdk.CodeVerification,
		Message: "the release is not signed as it should be",
		Hint:    "somebody may have altered it on its way: try another mirror",
	},
	{
		Says:    regexp.MustCompile(`Hash Sum mismatch|[Hh]ashes of expected file|File has unexpected size|was corrupt|(?:sha256|checksum) mismatch`),
		Code:    sdk.CodeVerification,
		Message: "a file is not what the signed release says",
		Hint:    "the mirror may just be updating: try again in some minutes, or another mirror",
	},
	{
		Says:    regexp.MustCompile(`Certificate verification failed|certificate (?:verify|is not trusted)|No system certificates`),
		Code:    sdk.CodeMirror,
		Message: "the certificate of the mirror is not trusted by this host",
		Hint:    "check the clock and the ca-certificates of this host",
	},
	{
		Says:    regexp.MustCompile(`Could not resolve '?([^'\s]+)|Temporary failure resolving '([^']+)'|unable to resolve host address ['‘]([^'’]+)`),
		Code:    sdk.CodeMirror,
		Message: "the name of the mirror %s cannot be resolved",
		Hint:    "check the DNS of this host, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`Asked to install suite (\S+), but got`),
		Code:    sdk.CodeMirror,
		Message: "the mirror has another release under the name of %s",
		Hint:    "use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`The repository '([^']+)' does not have a Release file|Failed getting release file (\S+)`),
		Code:    sdk.CodeMirror,
		Message: "%s is not to be had: the mirror cannot be reached or has no such release",
		Hint:    "check --release and --mirror; a mirror without updates needs --option updates=off, one without security updates --option security-mirror=none",
	},
	{
		Says: regexp.MustCompile(`(?:Could not connect to|Unable to connect to|Cannot initiate the connection to) ([^\s(]+)|` +
			`Connection (?:refused|failed|timed out|reset)|Network is unreachable`),
		Code:    sdk.CodeMirror,
		Message: "the mirror %s cannot be reached",
		Hint:    "check the network of this host, or use another --mirror",
	},
	{
		Says: regexp.MustCompile(`Failed to fetch (\S+)|Couldn't download (?:package )?(\S+)|404 +Not Found|Some index files failed|` +
			`Unable to fetch some archives|Undetermined Error|Invalid Release file|File not found - (\S+)`),
		Code:    sdk.CodeMirror,
		Message: "the mirror lacks the file %s",
		Hint:    "it may just be updating: try again in some minutes, or another --mirror",
	},
	{
		Says:    regexp.MustCompile(`unmet dependencies|held broken packages|Unable to correct problems`),
		Code:    sdk.CodeInvalidRequest,
		Message: "the packages that were asked for cannot be installed together",
		Hint:    "the lines above say which of them is at fault",
	},
}...)

// unknownPackage is what apt says about a name that it does not know.
var unknownPackage = regexp.MustCompile(
	`Unable to locate package (\S+)|Package '([^']+)' has no installation candidate|Version '[^']+' for '([^']+)' was not found|` +
		`Couldn't find any package by (?:glob|regex) '([^']+)'`)

// explain says what the failure of a tool means to the user.
func (r *run) explain(failure *sdk.Failure) *sdk.Failure {
	if failure.Code != sdk.CodeTool {
		return failure
	}
	if gone := r.gone(failure.Tail); gone != "" {
		return &sdk.Failure{
			Code: sdk.CodeInvalidRequest, Message: "the mirror no longer has packages that are pinned: " + gone,
			Hint: "use an archive that keeps them, with --snapshot, or make a new lock", Tail: failure.Tail,
		}
	}
	for _, line := range failure.Tail {
		if m := unknownPackage.FindStringSubmatch(line); m != nil {
			explained := r.noPackage(cmp.Or(m[1:]...))
			explained.Tail = failure.Tail
			return explained
		}
	}
	return failure.Explain(symptoms...)
}

// uninstallable is what apt says of a package none of whose versions is allowed.
var uninstallable = regexp.MustCompile(`Depends: (\S+)[^|]* but it is not installable|Package '([^']+)' has no installation candidate`)

// gone lists the pinned packages that apt misses; empty without pins.
func (r *run) gone(lines []string) string {
	var names []string
	for _, line := range lines {
		m := uninstallable.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, p := range r.pinned {
			if name := p.Name + " " + p.Version; p.Name == cmp.Or(m[1:]...) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return list(names)
}
