package sdk

// The rules that the host itself holds a plugin to, by the names under which
// docs/conformance.md explains them: what a *ProtocolError has as its ID. The
// package conformance knows more, which a host does not look at.
const (
	RuleHandshakeLine    = "handshake-line"
	RuleHandshakeSocket  = "handshake-socket"
	RuleHandshakeTLS     = "handshake-tls"
	RuleHandshakeVersion = "handshake-version"
	RuleHandshakeName    = "handshake-name"

	RuleDescribeAnswers = "describe-answers"
	RuleDescribeName    = "describe-name"
	RuleDescribeDistros = "describe-distros"
	RuleListsBounded    = "lists-bounded"

	RuleAnswers = "validate-answers"

	RuleOneEnd        = "events-one-end"
	RuleStreamEnds    = "events-stream-ends"
	RuleEventsBounded = "events-bounded"

	RuleFactsNames     = "facts-names"
	RuleFactsOSRelease = "facts-os-release"
	RuleFactsSSH       = "facts-ssh-units"
	RuleFactsNetwork   = "facts-network-units"
	RuleFactsUnits     = "facts-units-exist"
	RuleTreeInit       = "tree-init"
)
