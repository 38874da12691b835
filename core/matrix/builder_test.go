package matrix_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

const grid = `version: 1
defaults: {image: {format: [tar]}, labels: {team: ci}}
distros: [{distro: debian, releases: [trixie, sid]}, arch]
variants:
- {name: web, base: minimal}
- {name: minimal}
- {name: shop, base: web}
`

func read(t *testing.T, text string) *matrix.Matrix {
	t.Helper()
	m, err := matrix.Read(spec.Source{Name: "images.yaml", Directory: "/src", Home: "/root"}, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// builder stands in for image: it writes a file where it is told to, and fails
// for whom it is told to.
type builder struct {
	mu      sync.Mutex
	began   []string
	bases   map[string]string
	now     int
	most    int
	fail    map[string]matrix.Outcome
	hold    map[string]chan struct{} // until closed, or the context ends
	content string
	push    map[string]string // the tags that images get
}

func (b *builder) run(ctx context.Context, t matrix.Task) matrix.Outcome {
	b.mu.Lock()
	b.began = append(b.began, t.Job.Name)
	if b.bases == nil {
		b.bases = map[string]string{}
	}
	b.bases[t.Job.Name] = t.Base
	b.now++
	b.most = max(b.most, b.now)
	hold := b.hold[t.Job.Name]
	fail, fails := b.fail[t.Job.Name]
	b.mu.Unlock()
	defer func() { b.mu.Lock(); b.now--; b.mu.Unlock() }()
	if err := os.WriteFile(t.Log, []byte("building "+t.Job.Name+"\n"), 0o644); err != nil {
		return matrix.Outcome{Exit: 1, Problem: err.Error()}
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return matrix.Outcome{Exit: 130, Problem: "interrupted", Ended: true}
		}
	}
	if fails {
		return fail
	}
	path := filepath.Join(t.Out, t.Job.Name+".tar")
	text := b.content + t.Job.Name
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return matrix.Outcome{Exit: 1, Problem: err.Error()}
	}
	var pushed []string
	if tag := b.push[t.Job.Name]; tag != "" {
		pushed = []string{tag + "@sha256:" + sha256Hex(text)}
	}
	return matrix.Outcome{Image: &matrix.Image{
		Pushed: pushed,
		Name:   t.Job.Name, Distro: t.Job.Distro, Digest: "tree of " + text,
		Artifacts: []matrix.Artifact{{Format: "tar", Path: path, SHA256: sha256Hex(text), Size: int64(len(text))}},
	}}
}

func (b *builder) options(t *testing.T) matrix.Options {
	t.Helper()
	return matrix.Options{Directory: filepath.Join(t.TempDir(), "results"), Jobs: 2, Program: "1.0", Run: b.run}
}

func runMatrix(ctx context.Context, t *testing.T, m *matrix.Matrix, o matrix.Options) *matrix.Report {
	t.Helper()
	r, err := matrix.Run(ctx, m, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func statuses(r *matrix.Report) map[string]matrix.Status {
	all := map[string]matrix.Status{}
	for _, j := range r.Jobs {
		all[j.Name] = j.Status
	}
	return all
}

func result(t *testing.T, r *matrix.Report, name string) matrix.Result {
	t.Helper()
	for _, j := range r.Jobs {
		if j.Name == name {
			return j
		}
	}
	t.Fatalf("there is no result of %s", name)
	return matrix.Result{}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
