package conformance

import (
	"context"
	"errors"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Rules that others name, too. Whether a plugin lives and answers in time only
// its runner can tell.
const (
	RuleHandshakeStart  = "handshake-start"
	RuleDescribeAnswers = sdk.RuleDescribeAnswers
	RuleAnswers         = sdk.RuleAnswers
	RuleSurvives        = "bootstrap-survives"
	RuleTalks           = "bootstrap-talks"
	RuleCancelEnds      = "cancel-ends"
)

// held are the rules that the host holds every plugin to.
var held = map[string]bool{
	sdk.RuleHandshakeLine: true, sdk.RuleHandshakeSocket: true, sdk.RuleHandshakeTLS: true, sdk.RuleHandshakeVersion: true,
	sdk.RuleHandshakeName: true, sdk.RuleDescribeName: true, sdk.RuleListsBounded: true, sdk.RuleOneEnd: true, sdk.RuleStreamEnds: true,
	sdk.RuleEventsBounded: true, sdk.RuleFactsNames: true, sdk.RuleFactsOSRelease: true, sdk.RuleFactsSSH: true,
	sdk.RuleFactsNetwork: true, sdk.RuleFactsUnits: true, sdk.RuleTreeInit: true,
	RuleHandshakeStart: true, RuleDescribeAnswers: true, RuleAnswers: true, RuleSurvives: true, RuleTalks: true, RuleCancelEnds: true,
}

var handshakeRules = []Rule{
	{
		ID: RuleHandshakeStart, Group: GroupHandshake,
		Says: "The plugin prints its handshake soon after it was started.",
		Why:  "Every command that concerns a distribution starts its plugin first. One that dies or waits then can be asked nothing, not even what it makes.",
		Meet: "Serve before anything else, and leave what may fail or take long to Validate and Bootstrap. What is wrong with the host is a diagnostic of Validate's.",

		check: shaken,
	},
	{
		ID: sdk.RuleHandshakeLine, Group: GroupHandshake,
		Says: "The first line on standard output is the handshake: `1|1|unix|SOCKET|grpc|CERTIFICATE`.",
		Why:  "It is how the host learns where the plugin listens. Whatever comes before it is read in its place.",
		Meet: "Print nothing to standard output before it; go-plugin's Serve prints it. Messages go to standard error.",

		check: shaken,
	},
	{
		ID: sdk.RuleHandshakeVersion, Group: GroupHandshake,
		Says: "The plugin speaks major version 1 of the protocol.",
		Why:  "Versions that differ in their major part do not understand each other, and guessing would run commands as root.",
		Meet: "Serve nspawnbuild.bootstrap.v1 under version 1 of go-plugin's VersionedPlugins, which sdk.VersionedPlugins does.",

		check: shaken,
	},
	{
		ID: sdk.RuleHandshakeSocket, Group: GroupHandshake,
		Says: "The plugin listens on a Unix socket of its own in the directory that PLUGIN_UNIX_SOCKET_DIR names.",
		Why:  "Any other address may be somebody else's, to whom the host would then speak.",
		Meet: "Make the socket in that directory, with no link on its path. Without the SDK: not in TMPDIR, and no TCP.",

		check: shaken,
	},
	{
		ID: sdk.RuleHandshakeTLS, Group: GroupHandshake,
		Says: "The plugin takes the mutual TLS that it is offered.",
		Why:  "It keeps everybody else on the host from speaking to a program that runs as root.",
		Meet: "Read the host's certificate from PLUGIN_CLIENT_CERT, demand it of clients, and give one of the plugin's own as the sixth field of the handshake, in base64 without padding: self-signed, for DNS:localhost. go-plugin does it by itself; docs/protocol.md says what the certificates are like.",

		check: shaken,
	},
	{
		ID: sdk.RuleHandshakeName, Group: GroupHandshake,
		Says: "The plugin's name is that of its file: nspawn-build-plugin-NAME.",
		Why:  "The name is how a plugin is installed, locked and spoken of. Two names for one thing would vouch for the wrong one.",
		Meet: "Return in Describe as name what follows nspawn-build-plugin- in the name of the file.",

		check: shaken,
	},
}

// description is what came of Describe.
type description struct {
	sdk.Description

	err error
}

var errInProcess = errors.New("there is no process of its own here; `nspawn-build plugin check` runs the binary")

// shaken looks at a handshake, of which the host says what is wrong.
func shaken(ctx context.Context, e *exam) outcome {
	if e.Subject.InProcess() {
		return skipped("%v", errInProcess)
	}
	if err := e.describe(ctx); err != nil {
		return skipped("%s", reason(err))
	}
	return kept()
}

// describe starts the plugin, and fills in what the request leaves open.
func (e *exam) describe(ctx context.Context) error {
	if e.described != nil {
		return e.described.err
	}
	e.described = &description{}
	t := &tap{}
	s, err := e.start(ctx, Grants{}, t)
	if err == nil {
		e.described.Description, err = s.Describe(ctx)
		err = errors.Join(e.note(err), s.Close())
	}
	if err != nil {
		e.described.err = err
		if len(e.broken) == 0 || len(e.broken[RuleHandshakeStart]) > 0 && t.hasCalled(methodDescribe) {
			delete(e.broken, RuleHandshakeStart)
			e.breaks(RuleDescribeAnswers, err.Error())
		}
		return err
	}
	e.complete()
	return nil
}

// complete fills in what is to be tried.
func (e *exam) complete() {
	if e.Request.Distro == "" && len(e.described.Distros) > 0 {
		e.Request.Distro = e.described.Distros[0].Name
	}
	if e.Request.Architecture == "" {
		e.Request.Architecture = machine()
	}
	if e.Request.JobID == "" {
		e.Request.JobID = "conformance"
	}
}

// distro is what Describe says of the one that is tried.
func (e *exam) distro() (sdk.Distro, bool) {
	for _, d := range e.described.Distros {
		if d.Name == e.Request.Distro {
			return d, true
		}
	}
	return sdk.Distro{}, false
}
