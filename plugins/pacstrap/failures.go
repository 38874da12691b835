package main

import (
	"regexp"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// symptoms are looked for in this order: what comes first is the cause of what
// comes later. A full disk makes signatures look broken, and a mirror that
// cannot be reached makes them look absent. pacman asks whether to import keys
// and to delete files, and its answer to itself stands in front of errors, so
// none is looked for at the beginning of a line.
var symptoms = append(slices.Clone(sdk.SymptomsOfDisk), []sdk.Symptom{
	{
		Says:    regexp.MustCompile(`could not extract (\S+) \((?:Write failed|Can't create|Failed to)`),
		Code:    sdk.CodeDisk,
		Message: "%s cannot be written: the disk is full, or not writable as it has to be",
		Hint:    "free some space, or choose another place with --directory",
	},
	{
		Says:    regexp.MustCompile(`Could not resolve host: (\S+)`),
		Code:    sdk.CodeMirror,
		Message: "the name of the mirror %s cannot be resolved",
		Hint:    "check the DNS of this host, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`SSL certificate problem|SSL peer certificate|certificate verify failed|SSL: no alternative certificate`),
		Code:    sdk.CodeMirror,
		Message: "the certificate of the mirror is not trusted by this host",
		Hint:    "check the clock and the ca-certificates of this host",
	},
	{
		Says: regexp.MustCompile(`from (\S+) : (?:Failed to connect|Could not connect|Couldn't connect|Connection (?:timed out|reset|refused)|` +
			`Operation too slow|Timeout was reached|Recv failure|Send failure|Empty reply|transfer closed|Resolving timed out)`),
		Code:    sdk.CodeMirror,
		Message: "the mirror %s cannot be reached",
		Hint:    "check the network of this host, or use another --mirror",
	},
	{
		Says:    regexp.MustCompile(`error: (\S+): signature from "[^"]*" is expired|signature from "[^"]*" is (?:expired)|(?:key|Key) "?([0-9A-F]{8,})"? (?:is|has) expired`),
		Code:    sdk.CodeVerification,
		Message: "the signature of %s is of a key that has expired",
		Hint:    "update the keyring package of this host, and check its clock",
	},
	{
		Says:    regexp.MustCompile(`key "([^"]+)" is unknown|key "([0-9A-F]+)" could not be (?:looked up|imported)`),
		Code:    sdk.CodeVerification,
		Message: "something is signed with the key %s, which is not in the keyring",
		Hint:    "update the keyring package of this host, or name the right keys with --keyring",
	},
	{
		Says:    regexp.MustCompile(`error: (\S+): signature from "[^"]*" is (?:unknown|marginal|never) trust|required key missing from keyring`),
		Code:    sdk.CodeVerification,
		Message: "the package %s is signed with a key that is not trusted",
		Hint:    "update the keyring package of this host, or name the right keys with --keyring",
	},
	{
		Says:    regexp.MustCompile(`error: (\S+): signature from "[^"]*" is invalid`),
		Code:    sdk.CodeVerification,
		Message: "%s is not what was signed: its signature does not verify",
		Hint:    "somebody may have altered it on its way: try another mirror",
	},
	{
		Says:    regexp.MustCompile(`failed retrieving file '([^']+)\.sig'|error: (\S+): missing required signature`),
		Code:    sdk.CodeVerification,
		Message: "%s is not signed",
		Hint:    "use a mirror of signed packages; lists of packages need no signature with --option " + optionDatabases + "=optional",
	},
	{
		Says:    regexp.MustCompile(`:: File \S*/(\S+) is corrupted|invalid or corrupted (?:package|database)|database '?(\S+?)'? is not valid`),
		Code:    sdk.CodeVerification,
		Message: "the file %s is not what the list of packages says",
		Hint:    "the mirror may just be updating: try again in some minutes, or another mirror",
	},
	{
		Says:    regexp.MustCompile(`failed retrieving file '([^']+)'|The requested URL returned error|failed to (?:synchronize|update) (?:all databases|\S+)|Unrecognized archive format`),
		Code:    sdk.CodeMirror,
		Message: "the mirror lacks the file %s",
		Hint:    "check --mirror, --release and --arch; the mirror may just be updating: try again in some minutes",
	},
	{
		Says:    regexp.MustCompile(`unresolvable package conflicts|are in conflict|conflicting dependencies`),
		Code:    sdk.CodeInvalidRequest,
		Message: "the packages that were asked for cannot be installed together",
		Hint:    "the lines above say which of them are in conflict",
	},
	{
		Says:    regexp.MustCompile(`unable to satisfy dependency '([^']+)'|cannot resolve "([^"]+)"|could not satisfy dependencies`),
		Code:    sdk.CodeMirror,
		Message: "the mirror lacks what a package needs: %s",
		Hint:    "the mirror may just be updating: try again in some minutes, or another mirror",
	},
	{
		Says:    regexp.MustCompile(`(?:\S+): (\S+) exists in (?:filesystem|both)`),
		Code:    sdk.CodeInvalidRequest,
		Message: "two of the packages bring the file %s",
		Hint:    "ask for one of them only",
	},
	{
		Says:    regexp.MustCompile(`The keyring file (\S+) does not exist`),
		Code:    sdk.CodeHostNotReady,
		Message: "pacman-key does not find the keyring %s",
		Hint:    "install the package archlinux-keyring that belongs to this host's pacman-key, or name keys with --keyring",
	},
	{
		Says:    regexp.MustCompile(`([0-9A-F]{16,40}) could not be locally signed|could not be added to the keyring`),
		Code:    sdk.CodeVerification,
		Message: "the key %s of the keyring cannot be trusted: it has expired or is damaged",
		Hint:    "update the keyring package of this host, and check its clock",
	},
}...)

// noPackage is what pacman says about a name that it does not know.
var noPackage = regexp.MustCompile(`error: target not found: (\S+)`)

// explain says what the failure of a tool means to the user.
func (r *run) explain(failure *sdk.Failure) *sdk.Failure {
	if failure.Code != sdk.CodeTool {
		return failure
	}
	for _, line := range failure.Tail {
		if m := noPackage.FindStringSubmatch(line); m != nil {
			return &sdk.Failure{
				Code:    sdk.CodeInvalidRequest,
				Message: "packages: there is no package or group " + sdk.Quoted(m[1]) + " in " + r.release,
				Hint:    "look its name up at https://archlinux.org/packages; packages of the AUR have to be built",
				Tail:    failure.Tail,
			}
		}
	}
	return failure.Explain(symptoms...)
}
