// Package conformance holds the rules that a distro plugin keeps to, each with
// what it is for and how to meet it, and runs them over a plugin.
//
// How the plugin is run is for a Subject to say: package sdktest runs one in
// memory, and `nspawn-build plugin check` the very binary as nspawn-build runs
// it. What the host refuses at any time (sdk.ProtocolError, sdk.CheckTree) is not
// stated anew here: a rule of that name is broken when the host says so.
package conformance

import (
	"context"

	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// The groups of rules, in the order in which they are looked at.
const (
	GroupHandshake = "handshake"
	GroupDescribe  = "describe"
	GroupValidate  = "validate"
	GroupPlan      = "plan"
	GroupState     = "state"
	GroupTolerance = "tolerance"
	GroupRefusal   = "refusal"
	GroupBootstrap = "bootstrap"
	GroupEvents    = "events"
	GroupFacts     = "facts"
	GroupTree      = "tree"
	GroupCancel    = "cancel"
	GroupBoot      = "boot"
)

// Rule is one rule.
type Rule struct {
	ID    string `json:"id"` // stable; what --only takes
	Group string `json:"group"`
	Says  string `json:"says"` // what is true of a plugin that keeps to it
	Why   string `json:"why"`  // what it is for
	Meet  string `json:"meet"` // how to meet it

	check check
}

// check looks whether a rule is kept.
type check func(ctx context.Context, e *exam) outcome

// outcome is what a check has seen that breaks the rule, nothing when all is
// well, or why it could not be looked at.
type outcome struct {
	seen []string
	skip string
}

// Grants are the directories that a plugin may write to in one session: those of
// a Request. All are absolute; an empty one grants nothing.
type Grants struct {
	Target         string
	CacheDirectory string
	WorkDirectory  string
	Readable       []string
}

// Wire stands between the host's client and the plugin.
type Wire func(grpc.ClientConnInterface) grpc.ClientConnInterface

// Subject is a plugin that can be run.
type Subject interface {
	// Start starts the plugin, with all that passes between the two going
	// through wire. An error that is a *StartError says which rule is broken.
	Start(ctx context.Context, grants Grants, wire Wire) (Session, error)
	// Directories makes three empty directories beside each other, for one job,
	// and a function that removes them with all that is in them.
	Directories() (Grants, func() error, error)
	// InProcess says that there is no process of the plugin's own, and so no
	// handshake and nothing that ends with it.
	InProcess() bool
}

// Session is a plugin that runs. It speaks as sdk.Client does.
type Session interface {
	sdk.Stater
	// Processes are those of the plugin and of all that it has started, or that
	// work for its jobs, by their numbers: their command lines.
	Processes() (map[int]string, error)
	// Mounts are the mounts that the plugin's files are on: where they are, with
	// "ro" or "rw" for each.
	Mounts() (map[string]string, error)
	// Printed is how many bytes the plugin has printed beside the protocol.
	Printed() int64
	// Close ends it.
	Close() error
}

// StartError says which rule a plugin broke that could not be started.
type StartError struct {
	ID  string
	Err error
}

// Error is that of the cause.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// Rung is one thing that was proved, or not, of a machine that was booted of
// what the plugin makes. Its Name is that of a rule without "boot-".
type Rung struct {
	Name    string
	OK      bool
	Skipped bool
	Detail  string
	Lines   []string // of one that failed: the end of the journal
}

// Config is what to run.
type Config struct {
	Subject Subject
	// Request is the one to try, without directories. Without a Distro it is for
	// the first that the plugin makes; without an Architecture, for this host's.
	Request sdk.Request
	// Offline says that the mirrors of Request cannot be reached: what needs
	// them, Bootstrap above all, is left out.
	Offline bool
	// Only are the rules or groups to run; empty means all.
	Only []string
	// Boot boots the tree that was made, which it may change: no rule looks at it
	// later. Without it nothing is booted.
	Boot func(ctx context.Context, tree string, facts sdk.Facts) ([]Rung, error)
	// Begin is told of each rule before it is looked at; it may be nil.
	Begin func(Rule)
}

// Rules are all rules, in the order in which they are run.
func Rules() []Rule {
	var all []Rule
	for _, group := range [][]Rule{
		handshakeRules, describeRules, validateRules, planRules, stateRules, toleranceRules,
		refusalRules, bootstrapRules, eventRules, factRules, treeRules, cancelRules, bootRules,
	} {
		all = append(all, group...)
	}
	return all
}
