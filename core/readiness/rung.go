// Package readiness proves that a machine that was started can be worked with:
// rung by rung, up to a real login over SSH and a name that resolves inside.
//
// A machine's address may at the same time belong to somebody else, behind
// another link or the default route. Every probe is bound to the machine's own
// interface before it connects, and fails when that is not there; no probe may
// ever leave this host in another way. A host key is never learnt: it is the
// one that was generated, or the proof fails.
package readiness

import (
	"fmt"
	"strings"
	"time"
)

// Step is one rung's place, from the ground up.
type Step int

// The steps.
const (
	Started    Step = iota // the driver knows the machine
	LeaderRuns             // its PID 1 runs
	SystemdUp              // systemd in it is up
	Addressed              // it has its address
	Answers                // something that speaks SSH answers on port 22
	KeyIsOurs              // with the key that we generated
	LoggedIn               // each way of logging in works
	Resolves               // a name resolves inside
	steps                  // how many there are
)

var stepNames = [steps]string{
	"started", "leader running", "systemd up", "address on host0",
	"ssh answers", "host key is ours", "login works", "names resolve",
}

// String says what has been reached.
func (s Step) String() string {
	if s < 0 || s >= steps {
		return fmt.Sprintf("step %d", int(s))
	}
	return stepNames[s]
}

// Rung is a step that was reached.
type Rung struct {
	Step    Step
	Detail  string        // what was found there, for the user
	Warning string        // what is not as it should be though the step holds; empty when all is well
	Failed  []string      // of systemd being up: the units that failed, as far as they are known
	After   time.Duration // since the proof began
}

// Error is a step that was not reached.
type Error struct {
	Rung    Step
	Message string   // what failed
	Hint    string   // what to do
	Journal []string // the end of the machine's journal, or of its console
	Err     error    // the cause
}

// Error returns the message and, where there is one, the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + strings.TrimSpace(e.Err.Error())
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
