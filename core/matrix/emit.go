package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Engine is a CI engine that fans a matrix out.
type Engine string

// The engines.
const (
	GitHub Engine = "github"
	GitLab Engine = "gitlab"
)

// Engines are all of them.
var Engines = []Engine{GitHub, GitLab}

// EmitError says why a matrix cannot be had for an engine.
type EmitError struct{ Problem, Advice string }

func (e *EmitError) Error() string { return e.Problem }

// Hint says what to do.
func (e *EmitError) Hint() string { return e.Advice }

// Command is how a runner calls this program.
type Command struct {
	File string   // the matrix file as seen there
	Out  string   // the results directory
	More []string // flags that each job is given
}

// line is the command line that builds one job.
func (c Command) line(j Job, more ...string) string {
	words := slices.Concat([]string{"nspawn-build", "matrix", "--file", c.File, "--only", j.Name, "--out", c.Out}, c.More, more)
	for i := range words {
		words[i] = shellWord(words[i])
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for a POSIX shell where it needs that.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Emit prints the jobs of a matrix as an engine fans them out, one runner a job.
func Emit(w io.Writer, m *Matrix, e Engine, c Command) error {
	switch e {
	case GitHub:
		return emitGitHub(w, m, c)
	case GitLab:
		return emitGitLab(w, m, c)
	}
	return fmt.Errorf("%q is no CI engine", e)
}

// githubJob is an entry of strategy.matrix. All of its values are there always,
// since an expression of a workflow has no way to ask.
type githubJob struct {
	Name    string `json:"name"`
	Distro  string `json:"distro"`
	Release string `json:"release"`
	Variant string `json:"variant"`
	Base    string `json:"base"`
	Verify  bool   `json:"verify"`
	Command string `json:"command"`
}

// githubLimit is how many jobs a matrix may generate there for each run of a
// workflow.
const githubLimit = 256

// emitGitHub prints what fromJSON makes a strategy.matrix of, on one line as
// $GITHUB_OUTPUT takes it. The jobs of such a matrix have no order: one that is
// built on another builds that too, on its own runner.
func emitGitHub(w io.Writer, m *Matrix, c Command) error {
	if len(m.Jobs) > githubLimit {
		return &EmitError{
			fmt.Sprintf("the matrix has %d images, and GitHub runs at most %d jobs of one", len(m.Jobs), githubLimit),
			"choose some of them with --only, in several workflows",
		}
	}
	var matrix struct {
		Include []githubJob `json:"include"`
	}
	for _, j := range m.Jobs {
		matrix.Include = append(matrix.Include, githubJob{j.Name, j.Distro, j.Release, j.Variant, j.Base, j.Verify, c.line(j)})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(matrix); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

type (
	gitlabJob struct {
		Stage     string           `yaml:"stage"`
		Needs     *[]gitlabNeed    `yaml:"needs,omitempty"`
		Script    []string         `yaml:"script"`
		When      string           `yaml:"when,omitempty"`
		Artifacts *gitlabArtifacts `yaml:"artifacts"`
	}
	gitlabNeed struct {
		Job       string `yaml:"job"`
		Artifacts bool   `yaml:"artifacts"`
	}
	gitlabArtifacts struct {
		When    string        `yaml:"when"`
		Paths   []string      `yaml:"paths"`
		Reports gitlabReports `yaml:"reports"`
	}
	gitlabReports struct {
		JUnit string `yaml:"junit"`
	}
)

const (
	gitlabStage  = "images"
	gitlabReport = "report"
)

// gitlabReserved are the keys at the top of a pipeline that are no jobs.
var gitlabReserved = []string{
	"after_script", "before_script", "cache", "default", "false", "image", "include", "nil", "null", "pages", "pages:deploy",
	"services", "spec", "stages", "true", "types", "variables", "workflow", gitlabReport,
}

// gitlabName is a job's name there.
func gitlabName(job string) string {
	if slices.Contains(gitlabReserved, job) || strings.HasPrefix(job, ".") {
		return "image " + job
	}
	return job
}

// emitGitLab prints a child pipeline with a job for each image, which has the
// images that it is built on from the job that made them, and one that joins the
// results. They share a results directory: each job hands on its own part of it.
func emitGitLab(w io.Writer, m *Matrix, c Command) error {
	if strings.HasPrefix(c.Out, "/") || strings.HasPrefix(c.Out, "../") || c.Out == ".." {
		return &EmitError{fmt.Sprintf("the results would be in %s, from where GitLab takes no artifacts", c.Out), "give --out a directory below the project"}
	}
	out := strings.TrimRight(strings.TrimPrefix(c.Out, "./"), "/")
	pipeline := yaml.MapSlice{{Key: "stages", Value: []string{gitlabStage, gitlabReport}}}
	for _, j := range m.Jobs {
		own := out + "/jobs/" + j.Name + "/"
		var more []string
		needs := []gitlabNeed{}
		for base, _ := m.Named(j.Base); base.Name != ""; base, _ = m.Named(base.Base) {
			if base.baseFormat() == "directory" {
				return &EmitError{
					fmt.Sprintf("%s is built on %s, of which there is a directory only: on its way to another runner that loses owners and links", j.Name, base.Name),
					"give " + base.Name + " the format tar.zst too",
				}
			}
			needs, more = append(needs, gitlabNeed{gitlabName(base.Name), true}), []string{"--resume"}
		}
		junit := own + "junit.xml"
		pipeline = append(pipeline, yaml.MapItem{Key: gitlabName(j.Name), Value: gitlabJob{
			Stage: gitlabStage, Needs: &needs, Script: []string{c.line(j, append(more, "--junit", junit)...)},
			Artifacts: &gitlabArtifacts{When: "always", Paths: []string{own}, Reports: gitlabReports{junit}},
		}})
	}
	report := "matrix-report"
	merge := []string{"nspawn-build", "matrix", "merge", out, "--out", report, "--junit", report + "/junit.xml", "--html", report + "/index.html"}
	for i := range merge {
		merge[i] = shellWord(merge[i])
	}
	pipeline = append(pipeline, yaml.MapItem{Key: gitlabReport, Value: gitlabJob{
		Stage: gitlabReport, Script: []string{strings.Join(merge, " ")}, When: "always",
		Artifacts: &gitlabArtifacts{When: "always", Paths: []string{report + "/"}, Reports: gitlabReports{report + "/junit.xml"}},
	}})
	data, err := yaml.Marshal(pipeline)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "# Made by nspawn-build matrix --emit gitlab of %s.\n%s", m.File.Name, data)
	return err
}
