// Package sdktest is what a plugin's tests use: it puts the real protocol
// between a test and a plugin, records what the plugin reports, and runs the rules
// of package conformance over it. It needs no host.
package sdktest

import (
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Start serves p and returns a client of it, so that all that passes between
// the two is encoded, sent over a connection in memory and checked as the host
// does. Both end with the test. The client's Grace and Silence may be set
// before it is used.
func Start(t testing.TB, p sdk.Plugin) *sdk.Client {
	t.Helper()
	c, err := connect(func(server grpc.ServiceRegistrar) { sdk.Register(server, p) })
	if err != nil {
		t.Fatalf("a client of the plugin: %v", err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Errorf("serving the plugin: %v", err)
		}
	})
	return sdk.NewClient(c)
}

// Event is one call of a Reporter's method.
type Event struct {
	Kind     string       // "phase", "progress", "line" or "warning"
	Text     string       // the phase, line or message
	Hint     string       // of a warning
	Progress sdk.Progress // of a progress
}

// Recorder is a Reporter that keeps what it is told. Its zero value is ready,
// and it may be used from several goroutines.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

var _ sdk.Reporter = (*Recorder)(nil)

// Phase implements sdk.Reporter.
func (r *Recorder) Phase(name string) { r.add(Event{Kind: "phase", Text: name}) }

// Progress implements sdk.Reporter.
func (r *Recorder) Progress(p sdk.Progress) { r.add(Event{Kind: "progress", Progress: p}) }

// Line implements sdk.Reporter.
func (r *Recorder) Line(text string) { r.add(Event{Kind: "line", Text: text}) }

// Warning implements sdk.Reporter.
func (r *Recorder) Warning(message, hint string) {
	r.add(Event{Kind: "warning", Text: message, Hint: hint})
}

func (r *Recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns all that was recorded, in order.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}

// Phases returns the names of the phases, in order.
func (r *Recorder) Phases() []string { return r.texts("phase") }

// Lines returns the lines, in order.
func (r *Recorder) Lines() []string { return r.texts("line") }

// Warnings returns the messages of the warnings, in order.
func (r *Recorder) Warnings() []string { return r.texts("warning") }

func (r *Recorder) texts(kind string) []string {
	var texts []string
	for _, e := range r.Events() {
		if e.Kind == kind {
			texts = append(texts, e.Text)
		}
	}
	return texts
}
