package main

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// symptom is something that the tools say when they fail, and what it means.
// The first group of says that is not empty is put for %s in the message.
type symptom struct {
	says    *regexp.Regexp
	code    sdk.Code
	message string
	hint    string
}

// symptoms are looked for in this order: what comes first is the cause of what
// comes later. A full disk makes signatures look broken, a wrong key makes a
// release look absent.
var symptoms = []symptom{
	{
		regexp.MustCompile(`No space left on device|[Nn]ot enough (?:free )?(?:disk )?space|don't have enough free space`),
		sdk.CodeDisk, "the disk is full", "free some space, or choose another place with --directory",
	},
	{
		regexp.MustCompile(`Disk quota exceeded`),
		sdk.CodeDisk, "the disk quota is used up", "free some space, or choose another place with --directory",
	},
	{
		regexp.MustCompile(`Read-only file system|Input/output error|mounted with noexec or nodev`),
		sdk.CodeDisk, "the directory cannot be written to as a root file system has to be",
		"choose another place with --directory",
	},
	{
		regexp.MustCompile(`Release file for (\S+) is (?:expired|not valid yet)`),
		sdk.CodeVerification, "the release at %s is not valid today",
		"check the clock of this host; a mirror that is behind serves expired releases",
	},
	{
		regexp.MustCompile(`NO_PUBKEY ([0-9A-F]+)|Missing key ([0-9A-F]+)|signed by unknown key \(key id ([0-9A-F]+)\)`),
		sdk.CodeVerification, "the release is signed with the key %s, which is not in the keyring",
		"update the keyring package of this host, or name the right keys with --keyring",
	},
	{
		regexp.MustCompile(`EXPKEYSIG ([0-9A-F]+)|KEYEXPIRED`),
		sdk.CodeVerification, "the release is signed with the key %s, which has expired",
		"update the keyring package of this host",
	},
	{
		regexp.MustCompile(`BADSIG|BADRELSIG|Invalid Release signature|signatures? (?:were|was|is) invalid|invalid signature|` +
			`is not signed|NODATA|NOSPLIT|Clearsigned file isn't valid|OpenPGP signature verification failed|` +
			`Sub-process .*sqv returned an error|Error executing gpgv|NOGETRELSIG|not trusted`),
		sdk.CodeVerification, "the release is not signed as it should be",
		"somebody may have altered it on its way: try another mirror",
	},
	{
		regexp.MustCompile(`Hash Sum mismatch|[Hh]ashes of expected file|File has unexpected size|was corrupt|(?:sha256|checksum) mismatch`),
		sdk.CodeVerification, "a file is not what the signed release says",
		"the mirror may just be updating: try again in some minutes, or another mirror",
	},
	{
		regexp.MustCompile(`Certificate verification failed|certificate (?:verify|is not trusted)|No system certificates`),
		sdk.CodeMirror, "the certificate of the mirror is not trusted by this host",
		"check the clock and the ca-certificates of this host",
	},
	{
		regexp.MustCompile(`Could not resolve '?([^'\s]+)|Temporary failure resolving '([^']+)'|unable to resolve host address ['‘]([^'’]+)`),
		sdk.CodeMirror, "the name of the mirror %s cannot be resolved", "check the DNS of this host, or use another --mirror",
	},
	{
		regexp.MustCompile(`Asked to install suite (\S+), but got`),
		sdk.CodeMirror, "the mirror has another release under the name of %s", "use another --mirror",
	},
	{
		regexp.MustCompile(`The repository '([^']+)' does not have a Release file|Failed getting release file (\S+)`),
		sdk.CodeMirror, "%s is not to be had: the mirror cannot be reached or has no such release",
		"check --release and --mirror; a mirror without updates needs --option updates=off, one without security updates --option security-mirror=none",
	},
	{
		regexp.MustCompile(`(?:Could not connect to|Unable to connect to|Cannot initiate the connection to) ([^\s(]+)|` +
			`Connection (?:refused|failed|timed out|reset)|Network is unreachable`),
		sdk.CodeMirror, "the mirror %s cannot be reached", "check the network of this host, or use another --mirror",
	},
	{
		regexp.MustCompile(`Failed to fetch (\S+)|Couldn't download (?:package )?(\S+)|404 +Not Found|Some index files failed|` +
			`Unable to fetch some archives|Undetermined Error|Invalid Release file|File not found - (\S+)`),
		sdk.CodeMirror, "the mirror lacks the file %s", "it may just be updating: try again in some minutes, or another --mirror",
	},
	{
		regexp.MustCompile(`unmet dependencies|held broken packages|Unable to correct problems`),
		sdk.CodeInvalidRequest, "the packages that were asked for cannot be installed together",
		"the lines above say which of them is at fault",
	},
}

// unknownPackage is what apt says about a name that it does not know.
var unknownPackage = regexp.MustCompile(
	`Unable to locate package (\S+)|Package '([^']+)' has no installation candidate|Version '[^']+' for '([^']+)' was not found|` +
		`Couldn't find any package by (?:glob|regex) '([^']+)'`)

// explain says what the failure of a tool means to the user.
func (r *run) explain(failure *sdk.Failure) *sdk.Failure {
	if failure.Code != sdk.CodeTool {
		return failure
	}
	for _, line := range failure.Tail {
		if name := firstGroup(unknownPackage.FindStringSubmatch(line)); name != "" {
			explained := r.noPackage(name)
			explained.Tail = failure.Tail
			return explained
		}
	}
	return explainTail(failure)
}

// explainTail finds the first symptom that the tool's last lines show.
func explainTail(failure *sdk.Failure) *sdk.Failure {
	for _, s := range symptoms {
		for _, line := range failure.Tail {
			m := s.says.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			subject := firstGroup(m)
			if subject == "" {
				subject = "in question"
			}
			return &sdk.Failure{
				Code: s.code, Message: strings.Replace(s.message, "%s", subject, 1), Hint: s.hint,
				Tail: failure.Tail,
			}
		}
	}
	return failure
}

func firstGroup(match []string) string {
	for i, group := range match {
		if i > 0 && group != "" {
			return group
		}
	}
	return ""
}

// failed makes any error a Failure. Errors of the plugin's own doing are about
// files: they are the disk's fault when the kernel says so.
func failed(err error) *sdk.Failure {
	var failure *sdk.Failure
	if errors.As(err, &failure) {
		return failure
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, full) {
			return &sdk.Failure{
				Code: sdk.CodeDisk, Message: err.Error(),
				Hint: "free some space, or choose another place with --directory",
			}
		}
	}
	if errors.Is(err, os.ErrPermission) {
		return &sdk.Failure{Code: sdk.CodeDisk, Message: err.Error(), Hint: "check the permissions of that place"}
	}
	return &sdk.Failure{Code: sdk.CodeTool, Message: err.Error()}
}
