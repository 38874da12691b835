package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// To is where it is printed.
type To struct {
	Out, Err io.Writer
	// Terminal says that somebody looks at Out: then nothing goes there that a
	// terminal would act on, in whatever form.
	Terminal bool
}

// ErrNotKept says that there is no journal in a machine's tree: it keeps none
// on disk, or never booted.
var ErrNotKept = errors.New("its journal was not kept")

// Running prints the journal of a machine that runs, and returns the exit status
// of its journalctl.
func Running(ctx context.Context, leader int, s Selection, to To) (int, error) {
	out := to.writer(s)
	code, err := inside.Command{Leader: leader, Argv: s.command(), Stdout: out, Stderr: &cleaner{to: to.Err}}.Run(ctx)
	return code, errors.Join(err, out.flush())
}

// logs is where a machine keeps its journal.
const logs = "var/log/journal"

// maxFiles bounds how many files are read; a machine may have made any number.
const maxFiles = 500

// nobody is who reads what the machine wrote. All that it may is read.
const nobody = 65534

// Kept prints the journal that a machine kept in its tree, by this host's
// journalctl, and returns the exit status of that.
func Kept(ctx context.Context, tree *rootfs.Tree, s Selection, to To) (code int, err error) {
	files, err := open(tree)
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	if err != nil {
		return -1, err
	}
	if len(files) == 0 {
		return -1, ErrNotKept
	}
	program, err := exec.LookPath("journalctl")
	if err != nil {
		return -1, fmt.Errorf("this host has no journalctl to read it with: %w", err)
	}
	argv := append(s.command(), "--quiet")
	for i := range files {
		argv = append(argv, fmt.Sprintf("--file=/proc/self/fd/%d", firstExtra+i))
	}
	out := to.writer(s)
	cmd := exec.CommandContext(ctx, program, argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "TERM=dumb"}
	cmd.Dir = "/"
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = files, out, &cleaner{to: to.Err}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: []uintptr{unix.CAP_DAC_READ_SEARCH},
	}
	err = errors.Join(cmd.Run(), out.flush())
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// firstExtra is the descriptor of the first file that a command inherits.
const firstExtra = 3

// open opens the files of a journal, the latest of them where there are too many.
func open(tree *rootfs.Tree) (files []*os.File, err error) {
	dirs, err := tree.Glob(logs, "*")
	if err != nil {
		return nil, nil //nolint:nilerr // no directory: there is no journal
	}
	type found struct {
		name string
		when time.Time
	}
	var all []found
	for _, dir := range dirs {
		// What is no directory, or no file, is not what journald made.
		if info, err := tree.Lstat(path.Join(logs, dir)); err != nil || !info.IsDir() {
			continue
		}
		for _, pattern := range []string{"*.journal", "*.journal~"} {
			names, err := tree.Glob(path.Join(logs, dir), pattern)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				name = path.Join(logs, dir, name)
				if info, err := tree.Lstat(name); err == nil && info.Mode().IsRegular() {
					all = append(all, found{name, info.ModTime()})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return b.when.Compare(a.when) })
	for _, one := range all[:min(len(all), maxFiles)] {
		f, err := tree.OpenFile(one.name)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

type flusher interface {
	io.Writer
	flush() error
}

// writer is what journalctl prints to. What other programs read is handed on as
// it is; text is for somebody's eyes, at once or later.
func (t To) writer(s Selection) flusher {
	isData := slices.Contains([]string{"export", "json", "json-pretty", "json-sse", "json-seq"}, s.Output)
	if isData && !t.Terminal {
		return plain{t.Out}
	}
	return &cleaner{to: t.Out}
}

type plain struct{ io.Writer }

func (plain) flush() error { return nil }

// cleaner hands on whole lines, without what a terminal would act on. A line
// without an end is cut.
type cleaner struct {
	to   io.Writer
	rest []byte
}

const maxLine = 1 << 16

func (c *cleaner) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	var out bytes.Buffer
	for {
		n := bytes.IndexByte(c.rest, '\n')
		if n < 0 && len(c.rest) < maxLine {
			break
		}
		if n < 0 {
			n = maxLine - 1
		}
		out.WriteString(console.Clean(string(c.rest[:n])))
		out.WriteByte('\n')
		c.rest = c.rest[min(n+1, len(c.rest)):]
	}
	if _, err := c.to.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *cleaner) flush() error {
	if len(c.rest) == 0 {
		return nil
	}
	_, err := c.Write([]byte{'\n'})
	return err
}
