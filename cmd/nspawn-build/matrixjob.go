package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/core/quarters"
)

// matrixRunner builds each image of a matrix in a process of its own, so that
// whatever one does to itself is done to it alone.
type matrixRunner struct {
	program string
	private string            // a directory that nobody else can look into
	more    []string          // flags that each image is given
	push    map[string]string // the tags in a registry that images get, by their names
	tell    func(job, stage, text string)
	// patience is how long a process that was interrupted may take to clean up.
	patience time.Duration
}

// newMatrixRunner returns a runner, and what removes what it keeps meanwhile.
func (a *app) newMatrixRunner() (*matrixRunner, func(), error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	// Those of a run that was killed go with the next.
	q, err := quarters.Kind{Prefix: "matrix-"}.Take(machines.RuntimeDir)
	if err != nil {
		return nil, nil, err
	}
	r := &matrixRunner{program: program, private: q.Dir, tell: func(string, string, string) {}, patience: 3 * time.Minute}
	return r, func() { _ = q.Leave() }, nil
}

// resultLimit is more than image prints, in bytes.
const resultLimit = 16 << 20

// run is a matrix.Runner.
func (r *matrixRunner) run(ctx context.Context, t matrix.Task) matrix.Outcome {
	fault := func(err error) matrix.Outcome {
		return matrix.Outcome{Exit: exitFault, Problem: "the image could not be begun: " + oneLine(err)}
	}
	file := filepath.Join(r.private, t.Job.Name+".yaml")
	if err := os.WriteFile(file, t.Job.Spec, 0o600); err != nil {
		return fault(err)
	}
	defer func() { _ = os.Remove(file) }()
	_ = os.Remove(t.Log) // what an earlier run kept may be anything by now
	log, err := os.OpenFile(t.Log, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return fault(err)
	}
	args := []string{"image", "--file", file, "--out", t.Out + "/", "--force", "--output", "json", "--log-format", "json", "--log-level", "debug"}
	args = append(args, r.more...)
	if ref := r.push[t.Job.Name]; ref != "" {
		args = append(args, "--push", ref)
	}
	if t.Base != "" {
		args = append(args, "--base", t.Base)
	}
	l := &jobLog{file: log, private: file, tell: func(stage, text string) { r.tell(t.Job.Name, stage, text) }}
	out := r.process(ctx, args, l)
	if out.Image != nil && out.Image.Error != nil {
		out.Image.Error.Message = unplaced(file, out.Image.Error.Message)
	}
	if err := errors.Join(l.err, log.Close()); err != nil && out.Exit == 0 {
		return matrix.Outcome{Exit: exitFault, Image: out.Image, Problem: "its log could not be kept: " + oneLine(err)}
	}
	return out
}

// process runs this program once more, in a process group of its own: a key on
// the terminal reaches it only by us.
func (r *matrixRunner) process(ctx context.Context, args []string, l *jobLog) matrix.Outcome {
	// The child hears of the end of the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, r.program, args...)
	// When this program is killed its children clean up and end; when it ends
	// at the second signal, this is their second one too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = r.patience
	var stdout limited
	drained, err := streamsOf(cmd, &stdout, l)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		drained(0)
		return matrix.Outcome{Exit: exitFault, Problem: "the image could not be begun: " + oneLine(err), Ended: ctx.Err() != nil}
	}
	err = cmd.Wait()
	// Whatever it left behind is no longer anybody's, and does not keep us.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	drained(time.Second)
	l.flush()
	out := matrix.Outcome{Exit: cmd.ProcessState.ExitCode()}
	var img matrix.Image
	if parsed := json.Unmarshal(stdout.Bytes(), &img); parsed == nil && !stdout.over {
		out.Image = &img
	} else if out.Exit == 0 {
		return matrix.Outcome{Exit: exitFault, Problem: "it says that it is done, and not what it has built"}
	}
	state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	// One that ends by itself as it is told to ends with a status of its own.
	out.Ended = ctx.Err() != nil && (out.Exit == exitInterrupted || ok && state.Signaled())
	switch {
	case ok && state.Signaled():
		out.Exit, out.Problem = exitFault, fmt.Sprintf("it was ended by the signal %q", state.Signal())
		if state.Signal() == syscall.SIGKILL {
			out.Hint = "was the host out of memory? try --jobs 1"
		}
	case err != nil && out.Exit == 0:
		out.Exit, out.Problem = exitFault, oneLine(err)
	case out.Exit != 0 && (out.Image == nil || out.Image.Error == nil):
		out.Problem, out.Hint = l.problem, l.hint
	}
	return out
}

// streamsOf has a command print into pipes that are copied to out and err. When
// it has ended, drained waits until they are empty, but no longer for those who
// hold them still.
func streamsOf(cmd *exec.Cmd, out, err io.Writer) (drained func(time.Duration), _ error) {
	var readers, writers []*os.File
	var copying sync.WaitGroup
	drained = func(patience time.Duration) {
		for _, w := range writers {
			_ = w.Close()
		}
		for _, r := range readers {
			_ = r.SetReadDeadline(time.Now().Add(patience))
		}
		copying.Wait()
		for _, r := range readers {
			_ = r.Close()
		}
	}
	for _, to := range []struct {
		stream *io.Writer
		w      io.Writer
	}{{&cmd.Stdout, out}, {&cmd.Stderr, err}} {
		r, w, err := os.Pipe()
		if err != nil {
			return drained, err
		}
		readers, writers = append(readers, r), append(writers, w)
		*to.stream = w
		copying.Go(func() { _, _ = io.Copy(to.w, r) })
	}
	return drained, nil
}

// limited is a buffer that does not grow without end.
type limited struct {
	bytes.Buffer
	over bool
}

func (b *limited) Write(p []byte) (int, error) {
	if b.Len()+len(p) > resultLimit {
		b.over = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// jobLog makes a log that people read of what image says in JSON.
type jobLog struct {
	file    io.Writer
	private string // the spec file that image reads, which is no place for anybody to look
	tell    func(stage, text string)

	mu      sync.Mutex
	part    []byte // of a line that has not ended
	written int
	err     error
	// problem and hint are the last error that was said.
	problem, hint string
}

const logLine = 64 << 10 // of which more is a line of its own

// Write never fails: that a log cannot be kept does not end what is built.
func (l *jobLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		switch {
		case i >= 0:
			l.line(append(l.part, p[:i]...))
			l.part, p = l.part[:0], p[i+1:]
		default:
			l.part, p = append(l.part, p...), nil
		}
		if len(l.part) > logLine {
			l.line(l.part)
			l.part = l.part[:0]
		}
	}
	return n, nil
}

func (l *jobLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) > 0 {
		l.line(l.part)
		l.part = nil
	}
}

// line takes one line: an entry in JSON, or what something else printed.
func (l *jobLog) line(b []byte) {
	var e struct{ Level, Msg, Stage, Time string }
	if json.Unmarshal(b, &e) != nil || e.Msg == "" {
		l.keep(string(b))
		return
	}
	e.Msg = unplaced(l.private, e.Msg)
	hint, isHint := strings.CutPrefix(e.Msg, hintMark)
	switch {
	case isHint: // at the level of what it is about
		l.hint = hint
	case e.Level == "error":
		l.problem, l.hint = e.Msg, ""
		e.Msg = "error: " + e.Msg
	case e.Level == "warning":
		e.Msg = "warning: " + e.Msg
	case e.Stage != "" && e.Level == "info":
		l.tell(e.Stage, e.Msg)
	}
	clock := e.Time
	if at, err := time.Parse(time.RFC3339, e.Time); err == nil {
		clock = at.Format(time.TimeOnly)
	}
	l.keep(clock + " " + e.Msg)
}

func (l *jobLog) keep(line string) {
	if l.err != nil || l.written > matrix.LogLimit {
		return
	}
	if l.written += len(line) + 1; l.written > matrix.LogLimit {
		line = "(what follows is not kept: there is too much of it)"
	}
	_, l.err = io.WriteString(l.file, line+"\n")
}

// unplaced takes the places in a file that is gone out of a text.
func unplaced(file, text string) string {
	for {
		before, rest, found := strings.Cut(text, file+":")
		if file == "" || !found {
			return text
		}
		text = before + strings.TrimLeft(strings.TrimLeft(rest, "0123456789:"), " ")
	}
}
