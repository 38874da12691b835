package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/term"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
)

// The rules of what is printed to standard error:
//
//   - On a terminal a running stage has one line that is written over, with
//     how far it is; when it ends the line stays with the time it took.
//   - Elsewhere each stage and each phase of it is a line of its own.
//   - A finding is one line that says what, and one "hint:" line that says
//     what to do.
//   - Tools' own output is shown with --log-level debug, and when it failed.

const hintMark = "hint: "

// plainFormatter writes what people read: the words in one line, with the level
// only where it says something.
type plainFormatter struct{}

func (plainFormatter) Format(e *logrus.Entry) ([]byte, error) {
	var b bytes.Buffer
	switch {
	case strings.HasPrefix(e.Message, hintMark):
	case e.Level <= logrus.ErrorLevel:
		b.WriteString("error: ")
	case e.Level == logrus.WarnLevel:
		b.WriteString("warning: ")
	}
	b.WriteString(harmlessLine(e.Message))
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// progress shows the events of a pipeline.
type progress struct {
	log *logrus.Logger

	mu     sync.Mutex
	live   *liveLine         // nil unless on a terminal
	phases map[string]string // of each stage, the current one
	said   map[string]bool
}

func newProgress(log *logrus.Logger, stderr io.Writer) *progress {
	p := &progress{log: log, phases: map[string]string{}, said: map[string]bool{}}
	if fd, is := terminal(stderr); is {
		p.live = startLiveLine(stderr, fd)
		log.SetOutput(p.live)
	}
	return p
}

// close ends the live line; what comes later is printed plainly.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == nil {
		return
	}
	p.log.SetOutput(p.live.out)
	p.live.stop()
	p.live = nil
}

// tell is a pipeline.Observer.
func (p *progress) tell(e pipeline.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	log := p.log.WithField("stage", e.Stage)
	switch e.Kind {
	case pipeline.Started:
		p.show(e.Stage, "")
		p.once(log, e, "started")
	case pipeline.Progress:
		p.advance(log, e)
	case pipeline.Finished:
		p.show("", "")
		log.WithFields(logrus.Fields{"event": e.Kind, "seconds": e.Duration.Seconds()}).Infof("%s: done in %s", e.Stage, short(e.Duration))
	case pipeline.Failed:
		p.show("", "")
		log.WithField("event", e.Kind).Debugf("%s: failed: %v", e.Stage, e.Err)
	case pipeline.Unchanged:
		log.WithField("event", e.Kind).Debugf("%s: nothing to change", e.Stage)
	case pipeline.Undoing:
		p.show(e.Stage, "removing what was made")
		log.WithField("event", e.Kind).Debugf("%s: removing what was made", e.Stage)
	case pipeline.Undone:
		p.show("", "")
		log.WithField("event", e.Kind).Debugf("%s: nothing is left", e.Stage)
	case pipeline.Warning:
		if p.said[e.Text] {
			return // by the plugin when it was asked, and again when it works
		}
		p.said[e.Text] = true
		log.Warn(e.Stage + ": " + e.Text)
		if e.Hint != "" {
			log.Warn(hintMark + e.Hint)
		}
	case pipeline.Line:
		log.Debugf("%s| %s", e.Stage, e.Text)
	}
}

// advance shows how far a stage is: always on the live line, elsewhere only
// when a new phase begins.
func (p *progress) advance(log *logrus.Entry, e pipeline.Event) {
	if e.Text != "" {
		p.phases[e.Stage] = e.Text
		// Tools take turns at unpacking and configuring, and a machine that
		// is started is the first thing to know of a boot that has started.
		p.once(log, e, e.Text)
	}
	text := p.phases[e.Stage]
	switch {
	case e.Total > 0:
		text += fmt.Sprintf(" %d of %d", e.Done, e.Total)
	case e.Done > 0:
		text += fmt.Sprintf(" %d", e.Done)
	}
	if e.Item != "" {
		text += "  " + e.Item
	}
	p.show(e.Stage, text)
}

// once says a phase of a stage where there is no live line to show it.
func (p *progress) once(log *logrus.Entry, e pipeline.Event, phase string) {
	if said := e.Stage + ": " + phase; p.live == nil && !p.said[said] {
		p.said[said] = true
		log.WithField("event", e.Kind).Info(said)
	}
}

func (p *progress) show(stage, text string) {
	if p.live != nil {
		p.live.set(stage, text)
	}
}

// short prints a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// liveLine is the last line of a terminal, written over again and again. It is
// an io.Writer for whole lines that go above it.
type liveLine struct {
	out io.Writer
	fd  int

	mu          sync.Mutex
	stage, text string
	since       time.Time
	shown       string // what stands there now
	done        chan struct{}
	ended       sync.WaitGroup
}

func startLiveLine(out io.Writer, fd int) *liveLine {
	l := &liveLine{out: out, fd: fd, done: make(chan struct{})}
	l.ended.Go(l.tick)
	return l
}

// tick draws ten times a second, however many events there are.
func (l *liveLine) tick() {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-t.C:
			l.mu.Lock()
			l.draw()
			l.mu.Unlock()
		}
	}
}

func (l *liveLine) set(stage, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stage != l.stage {
		l.since = time.Now()
	}
	l.stage, l.text = stage, harmlessLine(text)
	if stage == "" {
		l.erase()
	}
}

func (l *liveLine) draw() {
	if l.stage == "" {
		return
	}
	line := l.stage
	if l.text != "" {
		line += ": " + l.text
	}
	line += fmt.Sprintf("  %s", time.Since(l.since).Truncate(time.Second))
	if width, _, err := term.GetSize(l.fd); err == nil && width > 1 {
		line = fit(line, width-1)
	}
	if line == l.shown {
		return
	}
	fmt.Fprint(l.out, "\r", line, "\x1b[K")
	l.shown = line
}

func fit(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	return strings.TrimRight(string(runes[:width-1]), " ") + "…"
}

func (l *liveLine) erase() {
	if l.shown != "" {
		fmt.Fprint(l.out, "\r\x1b[K")
		l.shown = ""
	}
}

// Write prints whole lines above the live one.
func (l *liveLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	return l.out.Write(b)
}

func (l *liveLine) stop() {
	close(l.done)
	l.ended.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}
