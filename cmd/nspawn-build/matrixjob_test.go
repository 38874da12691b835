package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

// standIn is a program in the place of this one.
func standIn(t *testing.T, script string) (*matrixRunner, matrix.Task) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"private", "out"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r := &matrixRunner{program: program, private: filepath.Join(dir, "private"), tell: func(string, string, string) {}, patience: time.Minute}
	return r, matrix.Task{
		Job: matrix.Job{Name: "box", Spec: []byte("version: 1\n# spec\n")}, Out: filepath.Join(dir, "out"), Log: filepath.Join(dir, "log"),
	}
}

func TestAnImageOfAMatrixIsBuiltByAProcessThatIsToldAll(t *testing.T) {
	r, task := standIn(t, `
printf '%s\n' "$@" >"$0.args"
stat -c %a "$3" >"$0.mode"; cat "$3" >"$0.spec"
echo '{"level":"info","msg":"bootstrap: started","stage":"bootstrap","time":"2026-11-26T01:02:03Z"}' >&2
echo 'not of ours' >&2
printf '{"level":"warning","msg":"no end' >&2
echo '{"name":"box","digest":"abc","artifacts":[{"format":"tar","path":"/x","sha256":"y","size":7}]}'
`)
	task.Base, r.more = "/base.tar", []string{"--cache-from", "registry.test/roots"}
	r.push = map[string]string{"box": "registry.test/images/box:1", "other": "registry.test/images/other:1"}
	var told []string
	r.tell = func(job, stage, text string) { told = append(told, job+" "+stage+" "+text) }
	out := r.run(t.Context(), task)
	if out.Exit != 0 || out.Image == nil || out.Image.Digest != "abc" || out.Image.Artifacts[0].Size != 7 {
		t.Errorf("%+v", out)
	}
	beside := func(what string) string {
		data, err := os.ReadFile(r.program + "." + what)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	args := strings.Fields(beside("args"))
	want := []string{
		"image", "--file", filepath.Join(r.private, "box.yaml"), "--out", task.Out + "/", "--force", "--output", "json",
		"--log-format", "json", "--log-level", "debug", "--cache-from", "registry.test/roots",
		"--push", "registry.test/images/box:1", "--base", "/base.tar",
	}
	if !slices.Equal(args, want) || beside("mode") != "600\n" || beside("spec") != string(task.Job.Spec) {
		t.Errorf("it was given %q, with a file of mode %s: %s", args, beside("mode"), beside("spec"))
	}
	if left, _ := os.ReadDir(r.private); len(left) > 0 {
		t.Errorf("%v is left of its spec", left)
	}
	log, err := os.ReadFile(task.Log)
	if wanted := "01:02:03 bootstrap: started\nnot of ours\n{\"level\":\"warning\",\"msg\":\"no end\n"; err != nil || string(log) != wanted {
		t.Errorf("the log is %q: %v", log, err)
	}
	if !slices.Equal(told, []string{"box bootstrap bootstrap: started"}) {
		t.Errorf("%q", told)
	}
}

func TestWhatAProcessEndsWithIsWhatTheImageEndsWith(t *testing.T) {
	for name, c := range map[string]struct {
		script  string
		exit    int
		problem string
		hint    string
	}{
		"it says why": {`echo '{"level":"error","msg":"no mirror"}
{"level":"error","msg":"hint: use another"}' >&2; exit 4`, 4, "no mirror", "use another"},
		"it has a result":       {`echo '{"error":{"code":6,"message":"unfit"}}'; exit 6`, 6, "", ""},
		"it names its own file": {`echo "{\"level\":\"error\",\"msg\":\"$3:3:12: option: no\"}" >&2; exit 2`, 2, "option: no", ""},
		"it says nothing":       {`exit 5`, 5, "", ""},
		"it is killed":          {`kill -9 $$`, exitFault, `it was ended by the signal "killed"`, "was the host out of memory? try --jobs 1"},
		"it lies":               {`echo hello`, exitFault, "it says that it is done, and not what it has built", ""},
		"it talks without end":  {`yes '{' | head -c 20000000`, exitFault, "it says that it is done, and not what it has built", ""},
		"its log has no end":    {`yes | tr -d '\n' | head -c 300000 >&2; exit 5`, 5, "", ""},
		"it leaves one behind":  {`sleep 1000 >/dev/null 2>&1 & echo $! >"$0.left"; exit 5`, 5, "", ""},
		"one holds its streams": {`sleep 1000 & echo $! >"$0.left"; exit 5`, 5, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, task := standIn(t, c.script)
			out := r.run(t.Context(), task)
			if out.Exit != c.exit || out.Problem != c.problem || out.Hint != c.hint {
				t.Errorf("%+v", out)
			}
			if data, err := os.ReadFile(r.program + ".left"); err == nil {
				pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
				if err != nil {
					t.Fatal(err)
				}
				gone(t, pid)
			}
		})
	}
}

// gone waits until a process is.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if errors.Is(err, os.ErrNotExist) || bytes.Contains(state, []byte(") Z ")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func TestAnInterruptReachesTheProcessOnceAndInGoodOrder(t *testing.T) {
	r, task := standIn(t, `trap 'echo ended in good order >&2; exit 130' INT; echo '{"msg":"up","stage":"s","level":"info"}' >&2; while :; do sleep 0.05; done`)
	ctx, cancel := context.WithCancel(t.Context())
	r.tell = func(string, string, string) { cancel() }
	out := r.run(ctx, task)
	log, _ := os.ReadFile(task.Log)
	if out.Exit != exitInterrupted || !out.Ended || !strings.Contains(string(log), "ended in good order") {
		t.Errorf("%+v, and the log is %q", out, log)
	}
}

func TestAProcessThatFailsAsItIsEndedHasFailed(t *testing.T) {
	r, task := standIn(t, `trap 'echo "{\"msg\":\"its own fault\",\"level\":\"error\"}" >&2; exit 4' INT; echo '{"msg":"up","stage":"s","level":"info"}' >&2; while :; do sleep 0.05; done`)
	ctx, cancel := context.WithCancel(t.Context())
	r.tell = func(string, string, string) { cancel() }
	if out := r.run(ctx, task); out.Exit != exitBootstrap || out.Ended || out.Problem != "its own fault" {
		t.Errorf("%+v", out)
	}
}

func TestAProcessThatDoesNotHearIsEndedWithAllOfItsOwn(t *testing.T) {
	r, task := standIn(t, `trap '' INT; sleep 1000 & echo $! >"$0.left"; echo '{"msg":"up","stage":"s","level":"info"}' >&2; while :; do sleep 0.05; done`)
	r.patience = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	r.tell = func(string, string, string) { cancel() }
	if out := r.run(ctx, task); out.Exit != exitFault || !out.Ended || !strings.Contains(out.Problem, "killed") {
		t.Errorf("%+v", out)
	}
	data, err := os.ReadFile(r.program + ".left")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}

func TestALogIsNoWayIntoAnotherFile(t *testing.T) {
	r, task := standIn(t, `echo said >&2; exit 5`)
	mine := filepath.Join(t.TempDir(), "mine")
	if err := errors.Join(os.WriteFile(mine, []byte("mine"), 0o644), os.Symlink(mine, task.Log)); err != nil {
		t.Fatal(err)
	}
	r.run(t.Context(), task)
	data, _ := os.ReadFile(mine)
	if log, err := os.Lstat(task.Log); err != nil || !log.Mode().IsRegular() || string(data) != "mine" {
		t.Errorf("%q, %v, %v", data, log, err)
	}
}

func TestALogHasAnEnd(t *testing.T) {
	var file bytes.Buffer
	l := &jobLog{file: &file, tell: func(string, string) {}}
	line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
	for range 2*matrix.LogLimit>>20 + 1 {
		if n, err := l.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if file.Len() > matrix.LogLimit+1<<20 || !strings.Contains(file.String()[file.Len()-100:], "too much of it") {
		t.Errorf("it has %d bytes", file.Len())
	}
}

func TestOnATerminalEachImageHasARow(t *testing.T) {
	var screen bytes.Buffer
	l := &liveRows{out: &screen, size: func() (int, int) { return 40, 6 }, done: make(chan struct{})}
	s := &matrixShow{log: logrus.New(), total: 3, rows: l, count: map[matrix.Status]int{}, said: map[string]string{}}
	s.log.SetFormatter(plainFormatter{})
	s.log.SetOutput(l)
	for _, name := range []string{"a", "long"} {
		s.begun(matrix.Job{Name: name})
	}
	s.tell("a", "bootstrap", "bootstrap: \x1b[2Junpack of a text that is much wider than this terminal")
	l.draw()
	got := screen.String()
	for _, want := range []string{"a          0s  bootstrap: unpack of a…\x1b[K\n", "long       0s\x1b[K\n", "0 of 3\x1b[K\n"} {
		if !strings.Contains(strings.ReplaceAll(got, "  \x1b[K", "\x1b[K"), want) {
			t.Errorf("%q is not on the screen: %q", want, got)
		}
	}
	screen.Reset()
	s.ended(matrix.Result{Job: matrix.Job{Name: "a"}, Status: matrix.Failed, Tail: []string{"last words"}})
	l.draw()
	if got := screen.String(); !strings.HasPrefix(got, "\r\x1b[3A\x1b[Ja: failed after") || !strings.Contains(got, "| last words\n") || !strings.Contains(got, "1 of 3, 1 failed\x1b[K\n") || strings.Contains(got, "bootstrap") {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"b", "c", "d", "e", "f"} {
		s.begun(matrix.Job{Name: name})
	}
	screen.Reset()
	l.draw()
	if rows := strings.Count(screen.String(), "\n"); rows > 5 || !strings.Contains(screen.String(), "and 3 more") {
		t.Errorf("%d rows on a terminal of 6: %q", rows, &screen)
	}
}

func TestElsewhereAnImageIsSpokenOfInLines(t *testing.T) {
	var out bytes.Buffer
	s := &matrixShow{log: logrus.New(), total: 2, count: map[matrix.Status]int{}, said: map[string]string{}}
	s.log.SetFormatter(plainFormatter{})
	s.log.SetOutput(&out)
	s.begun(matrix.Job{Name: "a"})
	s.tell("a", "bootstrap", "bootstrap: started")
	s.tell("a", "bootstrap", "bootstrap: unpack")
	s.ended(matrix.Result{Job: matrix.Job{Name: "a"}, Status: matrix.Done, Seconds: 2})
	s.ended(matrix.Result{Job: matrix.Job{Name: "b"}, Status: matrix.Skipped, Reason: "interrupted"})
	if want := "a: begun\na: bootstrap\na: done in 2.0 s\nb: skipped: interrupted\n"; out.String() != want {
		t.Errorf("%q", &out)
	}
}

func TestAMatrixEndsAsItsFirstFailureDoes(t *testing.T) {
	job := func(name string, s matrix.Status, exit int) matrix.Result {
		return matrix.Result{Job: matrix.Job{Name: name}, Status: s, Exit: exit, Reason: "because", Hint: "do this"}
	}
	for want, jobs := range map[int][]matrix.Result{
		exitDone:  {job("a", matrix.Done, 0)},
		exitBoot:  {job("a", matrix.Done, 0), job("b", matrix.Skipped, 0), job("c", matrix.Failed, exitBoot), job("d", matrix.Failed, exitBootstrap)},
		exitFault: {job("a", matrix.Stopped, 130), job("b", matrix.Missing, 0)},
	} {
		var out, said bytes.Buffer
		a := newApp(streams{out: &out, err: &said})
		ctx := matrixContext(t, a)
		err := a.matrixReport(ctx, &matrix.Report{Jobs: jobs}, t.TempDir(), nil)
		code := exitDone
		if err != nil {
			code = a.report(t.Context(), err)
		}
		if code != want {
			t.Errorf("%d, want %d", code, want)
		}
		if want == exitBoot && !strings.Contains(said.String(), "error: c: because\nhint: c: do this\n") {
			t.Errorf("it says %q", &said)
		}
	}
}

// matrixContext is that of a command line of matrix without any flag.
func matrixContext(t *testing.T, a *app) *cli.Context {
	t.Helper()
	set := flag.NewFlagSet("matrix", flag.ContinueOnError)
	for _, f := range a.cli.Command("matrix").Flags {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	return cli.NewContext(a.cli, set, nil)
}

func TestWhatFailedBeforeAnInterruptIsSaidAsItIs(t *testing.T) {
	var out, said bytes.Buffer
	a := newApp(streams{out: &out, err: &said})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	err := a.matrixReport(matrixContext(t, a), &matrix.Report{Interrupted: true, Jobs: []matrix.Result{
		{Job: matrix.Job{Name: "bad"}, Status: matrix.Failed, Exit: exitBootstrap, Reason: "no mirror", Hint: "use another"},
		{Job: matrix.Job{Name: "ended"}, Status: matrix.Stopped, Reason: "interrupted"},
	}}, t.TempDir(), nil)
	if code := a.report(ctx, err); code != exitInterrupted {
		t.Errorf("it exits %d", code)
	}
	if want := "error: bad: no mirror\nhint: use another\nerror: interrupted\n"; said.String() != want {
		t.Errorf("it says %q", &said)
	}
}
