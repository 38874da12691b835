package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

const matrixResults = "matrix-results"

func (a *app) matrixCommand() *cli.Command {
	return &cli.Command{
		Name:      "matrix",
		Usage:     "build the images of a matrix: distributions by releases by variants",
		ArgsUsage: "[plan|merge] [DIR...]",
		Description: "nspawn-build matrix --file FILE builds what the file asks for, some images at a time, and\n" +
			"keeps images, logs and results in a directory. An image that fails fails alone.\n" +
			"docs/matrix.md says what is in the file.\n\n" +
			"matrix plan --file FILE lists the images in the order in which they are built.\n" +
			"matrix merge DIR... --out DIR joins the results of several runners into one report.\n" +
			"matrix --file FILE --emit github prints the jobs as a CI engine fans them out.",
		Flags: append(slices.Concat(
			grouped("What is built:", []cli.Flag{
				&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the matrix `FILE`; - is standard input"},
				&cli.StringSliceFlag{Name: "only", Usage: "build image `NAME` and what it is built on; may be repeated"},
			}),
			grouped("How it is built:", []cli.Flag{
				&cli.IntFlag{Name: "jobs", Usage: "build `N` images at once (default: one for each processor and GiB of memory, at most 8)"},
				&cli.BoolFlag{Name: "fail-fast", Usage: "end the others when one fails"},
				&cli.BoolFlag{Name: "resume", Usage: "leave alone what an earlier run has built, unless what it is built of has changed"},
				&cli.BoolFlag{Name: "dry-run", Usage: "list the images in the order in which they would be built, and touch nothing"},
			}),
			cacheFlags(), []cli.Flag{devPluginFlag()},
			grouped("Where it goes:", []cli.Flag{matrixPushFlag()}),
			grouped("What is told:", []cli.Flag{
				&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Value: matrixResults, Usage: "keep results in `DIR`"},
				&cli.StringFlag{Name: "junit", Usage: "write a JUnit report to `FILE` too"},
				&cli.StringFlag{Name: "html", Usage: "write a page with the results to `FILE` too"},
				&cli.StringFlag{Name: "emit", Usage: "print the jobs as a CI `ENGINE` takes them, and build nothing: github or gitlab"},
				&cli.BoolFlag{Name: "print-schema", Usage: "print the JSON Schema of matrix files, and do nothing else"},
			})),
			// Not with -o, which is --out here.
			&cli.StringFlag{Name: "output", Value: "text", Usage: "`FORM` of the result: text or json", EnvVars: env("output")},
		),
		Action: a.matrix,
	}
}

func (a *app) matrix(ctx *cli.Context) error {
	if ctx.Bool("print-schema") {
		_, err := a.out.Write(spec.MatrixSchema())
		return err
	}
	switch first := ctx.Args().First(); first {
	case "merge":
		return a.matrixMerge(ctx)
	case "", "plan":
		if ctx.NArg() > 1 {
			return &usageError{fmt.Sprintf("unexpected argument %q", ctx.Args().Get(1)), "choose images with --only NAME"}
		}
	default:
		return &usageError{fmt.Sprintf("unexpected argument %q", first), "the file is given with --file FILE, single images with --only NAME"}
	}
	m, needed, err := a.matrixFile(ctx)
	if err != nil {
		return err
	}
	push, err := pushPlaces(ctx, m, needed)
	if err != nil {
		return err
	}
	switch {
	case ctx.IsSet("emit"):
		return a.matrixEmit(ctx, m)
	case ctx.Bool("dry-run"), ctx.Args().First() == "plan":
		return a.matrixPlan(ctx, m)
	}
	return a.matrixRun(ctx, m, needed, push)
}

// matrixFile reads the file, and chooses of it what --only says.
func (a *app) matrixFile(ctx *cli.Context) (*matrix.Matrix, map[string]bool, error) {
	if !ctx.IsSet("file") {
		return nil, nil, &usageError{"no matrix file was given", "give one: nspawn-build matrix --file images.yaml; docs/matrix.md says what is in it"}
	}
	var m *matrix.Matrix
	src, data, err := a.readSource(ctx.String("file"))
	if err == nil {
		m, err = matrix.Read(src, data)
	}
	if err != nil || !ctx.IsSet("only") {
		return m, nil, err
	}
	part, needed, unknown := m.Only(ctx.StringSlice("only"))
	if part == nil {
		return nil, nil, spec.Invalid{{Field: "only", Value: unknown, Problem: "is no image of " + ctx.String("file"), Hint: "nspawn-build matrix plan --file " + ctx.String("file") + " lists them"}}
	}
	return part, needed, nil
}

// matrixJobs is how many images are built at once. Building one is mostly one
// process at a time, a package manager's or a boot's, so one for each processor
// keeps them busy. Compressing takes all of them and up to a GiB of memory.
func matrixJobs(ctx *cli.Context) (int, error) {
	n := ctx.Int("jobs")
	if n < 0 || ctx.IsSet("jobs") && n == 0 {
		return 0, &usageError{fmt.Sprintf("jobs: \"%d\" is not a number of images", n), "use 1 or more"}
	}
	if n > 0 {
		return n, nil
	}
	n = min(runtime.NumCPU(), 8)
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		n = min(n, int(uint64(info.Totalram)*uint64(info.Unit)>>30)) //nolint:unconvert // 32 bits wide on some hardware
	}
	return max(1, n), nil
}

func (a *app) matrixRun(ctx *cli.Context, m *matrix.Matrix, needed map[string]bool, push map[string]string) error {
	if err := needRoot(); err != nil {
		return err
	}
	jobs, err := matrixJobs(ctx)
	if err != nil {
		return err
	}
	dir, err := matrixOut(ctx)
	if err != nil {
		return err
	}
	var keys []string
	if m.InvokerKeys() {
		if keys, err = invokerKeys(); err != nil {
			return err
		}
	}
	runner, end, err := a.newMatrixRunner()
	if err != nil {
		return err
	}
	defer end()
	runner.more, runner.push = append(cacheWords(ctx), a.devWords()...), push
	show := a.showMatrix(len(m.Jobs), runner)
	report, err := matrix.Run(ctx.Context, m, matrix.Options{
		Directory: dir, Jobs: jobs, FailFast: ctx.Bool("fail-fast"), Resume: ctx.Bool("resume"), Needed: needed,
		Program: version, Surroundings: a.surroundings(pushWords(ctx)), InvokerKeys: keys, Push: push, Run: runner.run, Begun: show.begun, Ended: show.ended,
	})
	show.close()
	if report == nil {
		return err
	}
	return a.matrixReport(ctx, report, dir, err)
}

// surroundings are what beside the file says what images are like: the host's
// defaults, those of the environment, and where images are to be pushed: what
// was not is not done.
func (a *app) surroundings(push []string) string {
	all := push
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if slices.Contains([]string{"SOURCE_DATE_EPOCH", env("release")[0], env("mirror")[0], env("keyring")[0], env("label")[0]}, name) {
			all = append(all, v)
		}
	}
	for _, key := range []string{"release", "mirror", "keyring", "label"} {
		all = append(all, fmt.Sprintf("%s: %q", key, a.config[key]))
	}
	all = append(all, a.devPrograms()...)
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// matrixOut is the results directory.
func matrixOut(ctx *cli.Context) (string, error) {
	dir, err := filepath.Abs(ctx.String("out"))
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(filepath.Dir(dir)); err != nil || !info.IsDir() {
		return "", spec.Invalid{{Field: "out", Value: ctx.String("out"), Problem: "is in no directory that is there", Hint: "make it: mkdir -p " + filepath.Dir(dir)}}
	}
	return dir, reportsFit(ctx, dir)
}

// reportsFit says before anything is built what keeps a report from being
// written after it.
func reportsFit(ctx *cli.Context, dir string) error {
	for _, flag := range []string{"junit", "html"} {
		path := ctx.String(flag)
		if path == "" {
			continue
		}
		if abs, err := filepath.Abs(path); err == nil && strings.HasPrefix(abs, dir+"/") {
			continue // it is made
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return spec.Invalid{{Field: flag, Value: path, Problem: "is in no directory that is there", Hint: "make it: mkdir -p " + filepath.Dir(path)}}
		}
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
			return spec.Invalid{{Field: flag, Value: path, Problem: "is there and no file", Hint: "name a file"}}
		}
	}
	return nil
}

// cacheWords are the flags of the line that say how trees are cached, as each
// image is given them.
func cacheWords(ctx *cli.Context) []string {
	var words []string
	for _, f := range cacheFlags() {
		name := f.Names()[0]
		if !ctx.IsSet(name) {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			words = append(words, fmt.Sprintf("--%s=%t", name, ctx.Bool(name)))
		case *cli.StringSliceFlag:
			for _, v := range repositories(ctx, name) {
				words = append(words, "--"+name, v)
			}
		}
	}
	return words
}
