package testhost

import (
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs on a host while the test does other things.
type Process struct {
	Pid    int // as this machine numbers it
	Stdout *Transcript
	Stderr *Transcript

	process *os.Process
	ended   chan struct{}
	result  Result // valid once ended is closed
}

// Start starts a program on the host. It is killed when the test ends.
func (h *Host) Start(t testing.TB, c Command) *Process {
	t.Helper()
	stdout, stderr := newTranscript(), newTranscript()
	started := make(chan *Process, 1)
	stderr.when, stderr.then = c.KillOn, func() {
		_ = (<-started).Signal(syscall.SIGKILL) // already gone shows in how it ended
	}
	p, err := h.spawn(c, stdout, stderr)
	if err != nil {
		t.Fatalf("start %q on the host: %v", c.Args, err)
	}
	p.Stdout, p.Stderr = stdout, stderr
	started <- p
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%q printed:\n%s%s", c.Args, stdout, stderr)
		}
		_ = p.Signal(syscall.SIGKILL) // already gone is as good
		<-p.ended
	})
	return p
}

// Signal sends the process, and nothing else, a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.process.Signal(s) }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait waits for the end of the process, and ends the test when that takes
// longer than the deadline.
func (p *Process) Wait(t testing.TB, deadline time.Duration) Result {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(deadline):
		t.Fatalf("the process has not ended after %s: %s%s", deadline, p.Stdout, p.Stderr)
	}
	r := p.result
	r.Stdout, r.Stderr = p.Stdout.String(), p.Stderr.String()
	return r
}

// Transcript is what a running process has printed so far.
type Transcript struct {
	mu   sync.Mutex
	text strings.Builder
	grew chan struct{} // closed at the next write
	when *regexp.Regexp
	then func() // called once, when the text matches
}

func newTranscript() *Transcript { return &Transcript{grew: make(chan struct{})} }

// Write adds to the transcript and wakes those who wait for more.
func (s *Transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.grew)
	s.grew = make(chan struct{})
	n, err := s.text.Write(p)
	if s.when != nil && s.when.MatchString(s.text.String()) {
		s.when = nil
		s.then()
	}
	return n, err
}

// String is all of it until now.
func (s *Transcript) String() string {
	text, _ := s.now()
	return text
}

func (s *Transcript) now() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.grew
}

// Await waits until the transcript satisfies the condition. It tells false
// when the process ends, or the deadline passes, before that.
func (p *Process) Await(s *Transcript, deadline time.Duration, holds func(text string) bool) bool {
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	for {
		text, grew := s.now()
		if holds(text) {
			return true
		}
		select {
		case <-grew:
		case <-p.ended:
			return holds(s.String())
		case <-timer.C:
			return false
		}
	}
}
