package matrix_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

func TestTheExampleInTheDocumentationIsAMatrix(t *testing.T) {
	page, err := os.ReadFile("../../docs/matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n# images.yaml\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("there is no example")
	}
	m := read(t, text)
	want := []string{
		"debian-bookworm-minimal", "debian-bookworm-web", "debian-trixie-minimal", "debian-trixie-web", "debian-sid-minimal",
		"fedora-42-minimal", "fedora-42-web", "arch-minimal", "arch-web", "golden",
	}
	if !slices.Equal(m.File.Jobs, want) {
		t.Errorf("it comes to %v", m.File.Jobs)
	}
	for _, e := range matrix.Engines {
		if emit(t, text, e) == "" {
			t.Errorf("nothing is emitted for %s", e)
		}
	}
	for _, s := range []matrix.Status{matrix.Done, matrix.Failed, matrix.Skipped, matrix.Stopped, matrix.Missing} {
		if !strings.Contains(string(page), "| `"+string(s)+"` |") {
			t.Errorf("the page does not say what %s means", s)
		}
	}
}
