package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	rows := parityRows(t)
	for _, line := range rows {
		cells := strings.Split(strings.Trim(line, "|"), "|")
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
	if len(rows) < 40 {
		t.Errorf("the table has only %d rows", len(rows))
	}
}

// parityRows are the rows of the table.
func parityRows(t *testing.T) []string {
	t.Helper()
	table, err := os.ReadFile("../docs/guide-parity.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(line, "| the guide") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	return rows
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// TestEveryCommandOfTheGuideHasARow looks up each command of the guide in the
// first column, where "…" stands for anything, NAME for a machine's name, and
// sudo goes without saying. A row that says where its command is run is that of
// no other place.
func TestEveryCommandOfTheGuideHasARow(t *testing.T) {
	const host, machine = "on the host", "in the machine"
	known := map[string][]*regexp.Regexp{}
	for _, row := range parityRows(t) {
		cell := strings.Split(row, "|")[1]
		for _, c := range codeSpan.FindAllStringSubmatch(cell, -1) {
			pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(c[1]), "…", ".+") + "$")
			for here, elsewhere := range map[string]string{host: machine, machine: host} {
				if !strings.Contains(cell, elsewhere) {
					known[here] = append(known[here], pattern)
				}
			}
		}
	}
	commands, err := os.ReadFile("testdata/guide-commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	where, found := "", 0
	for line := range strings.Lines(string(commands)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			where = strings.Trim(line, "[]")
			continue
		}
		found++
		command := strings.NewReplacer("mycontainer", "NAME", "testbox", "NAME").Replace(strings.TrimPrefix(line, "sudo "))
		if !slices.ContainsFunc(known[where], func(p *regexp.Regexp) bool { return p.MatchString(command) }) {
			t.Errorf("no row is about this command %s: %s", where, line)
		}
	}
	if found < 50 {
		t.Errorf("the guide has only %d commands", found)
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
