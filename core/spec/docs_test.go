package spec_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// The page that people decide by says what the profile is, word by word.
func TestThePageAboutTheSandboxSaysWhatItStandsFor(t *testing.T) {
	page, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spec.ProfileSandbox.Settings() {
		row := "| `" + s.Field + "` | `" + s.Value + "` | " + s.Why + " |\n"
		if !strings.Contains(string(page), row) {
			t.Errorf("this row is missing: %s", row)
		}
	}
}
