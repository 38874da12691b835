package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/term"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

// matrixShow tells of the images of a matrix while they are built: on a terminal
// by a row for each that is under way, elsewhere in lines.
type matrixShow struct {
	log   *logrus.Logger
	total int

	mu    sync.Mutex
	rows  *liveRows // nil unless on a terminal
	count map[matrix.Status]int
	said  map[string]string // by image, the stage that was said last
}

func (a *app) showMatrix(total int, r *matrixRunner) *matrixShow {
	s := &matrixShow{log: a.log, total: total, count: map[matrix.Status]int{}, said: map[string]string{}}
	r.tell = s.tell
	_, plain := a.log.Formatter.(plainFormatter)
	if fd, is := terminal(a.err); is && plain {
		a.progress.close()
		s.rows = startLiveRows(a.err, fd)
		a.log.SetOutput(s.rows)
	}
	return s
}

func (s *matrixShow) begun(j matrix.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows != nil {
		s.rows.set(j.Name, "")
		s.rows.summary(s.sum())
		return
	}
	s.log.WithField("image", j.Name).Info(j.Name + ": begun")
}

func (s *matrixShow) tell(job, stage, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.rows != nil:
		s.rows.set(job, text)
	case s.said[job] != stage:
		s.said[job] = stage
		s.log.WithFields(logrus.Fields{"image": job, "stage": stage}).Info(job + ": " + stage)
	}
}

func (s *matrixShow) ended(r matrix.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[r.Status]++
	if s.rows != nil {
		s.rows.drop(r.Name)
		s.rows.summary(s.sum())
	}
	log := s.log.WithFields(logrus.Fields{"image": r.Name, "status": r.Status, "seconds": r.Seconds})
	switch {
	case r.Resumed:
		log.Infof("%s: was done before", r.Name)
	case r.Status == matrix.Done:
		log.Infof("%s: done in %s", r.Name, short(seconds(r.Seconds)))
	case r.Status == matrix.Failed:
		log.Infof("%s: failed after %s", r.Name, short(seconds(r.Seconds)))
		for _, l := range r.Tail[max(0, len(r.Tail)-20):] {
			log.Info("| " + l)
		}
	default:
		log.Infof("%s: %s: %s", r.Name, r.Status, r.Reason)
	}
}

// sum is how far it all is.
func (s *matrixShow) sum() string {
	over := 0
	for _, n := range s.count {
		over += n
	}
	text := fmt.Sprintf("%d of %d", over, s.total)
	for _, status := range []matrix.Status{matrix.Done, matrix.Failed, matrix.Stopped, matrix.Skipped} {
		if n := s.count[status]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, status)
		}
	}
	return text
}

func (s *matrixShow) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows != nil {
		s.log.SetOutput(s.rows.out)
		s.rows.stop()
		s.rows = nil
	}
}

// liveRows are the last lines of a terminal, written over again and again. It
// is an io.Writer for whole lines that go above them.
type liveRows struct {
	out  io.Writer
	size func() (width, height int)

	mu    sync.Mutex
	rows  []liveRow
	last  string
	shown int // lines that stand there now
	done  chan struct{}
	ended sync.WaitGroup
}

type liveRow struct {
	name, text string
	since      time.Time
}

func startLiveRows(out io.Writer, fd int) *liveRows {
	l := &liveRows{out: out, done: make(chan struct{}), size: func() (int, int) {
		width, height, err := term.GetSize(fd)
		if err != nil || width < 2 || height < 2 {
			return 80, 24
		}
		return width, height
	}}
	l.ended.Go(l.tick)
	return l
}

// tick draws some times a second, however much happens.
func (l *liveRows) tick() {
	t := time.NewTicker(200 * time.Millisecond)
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

func (l *liveRows) set(name, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.rows, func(r liveRow) bool { return r.name == name })
	if i < 0 {
		i = len(l.rows)
		l.rows = append(l.rows, liveRow{name: name, since: time.Now()})
	}
	l.rows[i].text = text
}

func (l *liveRows) drop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(l.rows, func(r liveRow) bool { return r.name == name })
}

func (l *liveRows) summary(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = text
}

// draw writes all rows over those that stand there.
func (l *liveRows) draw() {
	width, height := l.size()
	column := 0
	for _, r := range l.rows {
		column = max(column, len(r.name))
	}
	var lines []string
	for _, r := range l.rows {
		lines = append(lines, fmt.Sprintf("%-*s  %7s  %s", column, r.name, time.Since(r.since).Truncate(time.Second), harmlessLine(r.text)))
	}
	if room := height - 2; len(lines) > room {
		lines = append(lines[:room-1], fmt.Sprintf("and %d more", len(lines)-room+1))
	}
	lines = append(lines, l.last)
	var b strings.Builder
	b.WriteString(l.up())
	for _, line := range lines {
		b.WriteString(fit(line, width-1) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(l.out, b.String())
	l.shown = len(lines)
}

// up goes to the first of the lines that stand there.
func (l *liveRows) up() string {
	if l.shown == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA", l.shown)
}

func (l *liveRows) erase() {
	if l.shown > 0 {
		_, _ = io.WriteString(l.out, l.up()+"\x1b[J")
		l.shown = 0
	}
}

// Write prints whole lines above the live ones.
func (l *liveRows) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	return l.out.Write(b)
}

func (l *liveRows) stop() {
	close(l.done)
	l.ended.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}
