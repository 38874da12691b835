package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName  = regexp.MustCompile("`(?:([a-z/]+): )?(Test[A-Za-z0-9]+)`( \\(vm\\))?")
	testBuild = regexp.MustCompile(`(?m)^//go:build (\w+)$`)
)

// TestEveryRowOfGuideParityHasATest reads the table that says what does here
// what the manual guide does, and looks for the tests that it names: those of
// the tier that it says.
func TestEveryRowOfGuideParityHasATest(t *testing.T) {
	table, err := os.ReadFile("../docs/guide-parity.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(table)) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| the guide") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		named := testName.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(cells) != 3 || len(named) == 0 {
			t.Errorf("this row names no test: %s", line)
		}
		for _, n := range named {
			dir, tier := ".", "integration"
			if n[1] != "" {
				dir, tier = filepath.Join("..", n[1]), ""
			}
			if n[3] != "" {
				tier = "vm"
			}
			if !isThere(t, dir, n[2], tier) {
				t.Errorf("there is no %s of the tier %q in %s: %s", n[2], tier, dir, line)
			}
		}
	}
	if rows < 40 {
		t.Errorf("the table has only %d rows", rows)
	}
}

func isThere(t *testing.T, dir, test, tier string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		build := ""
		if m := testBuild.FindSubmatch(text); m != nil {
			build = string(m[1])
		}
		if build == tier && bytes.Contains(text, []byte("\nfunc "+test+"(t *testing.T)")) {
			return true
		}
	}
	return false
}
