package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// newPlugin runs plugin new, and returns what it has printed and made.
func newPlugin(t *testing.T, args ...string) (out, said, readme string) {
	t.Helper()
	var o, e bytes.Buffer
	dir := filepath.Join(t.TempDir(), "new")
	args = slices.Concat([]string{"nspawn-build", "plugin", "new", "--directory", dir}, args)
	if code := run(context.Background(), args, streams{in: strings.NewReader(""), out: &o, err: &e}); code != exitDone {
		t.Fatalf("%d: %s", code, &e)
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return o.String(), e.String(), string(text)
}

func TestANewPluginSaysWhichSDKItLacks(t *testing.T) {
	const get = "go get github.com/nspawn-build/nspawn-build@latest"
	out, said, readme := newPlugin(t, "my-linux")
	if !strings.Contains(said, "no version of the SDK") || !strings.Contains(said, "hint: ") || !strings.Contains(said, "--sdk") ||
		!strings.Contains(out, get+" && go mod tidy") || !strings.Contains(readme, get+" ") {
		t.Errorf("of a program that is no release:\n%s%s%s", out, said, readme)
	}
	out, said, readme = newPlugin(t, "--sdk", "../..", "my-linux")
	if said != "" || strings.Contains(out, get) || strings.Contains(readme, get+" ") || !strings.Contains(readme, "take out\nthe `replace`") {
		t.Errorf("with a clone:\n%s%s%s", out, said, readme)
	}
	version = "v1.2.3"
	defer func() { version = "devel" }()
	if out, said, readme = newPlugin(t, "my-linux"); said != "" || strings.Contains(out+readme, get) {
		t.Errorf("of a release:\n%s%s%s", out, said, readme)
	}
}

// blocks are the commands of a page that are to be run.
var blocks = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestTheCommandsOfANewPluginsReadMeAreOurs reads its lines as this program would;
// TestTheTutorialIsTrue runs them.
func TestTheCommandsOfANewPluginsReadMeAreOurs(t *testing.T) {
	_, _, readme := newPlugin(t, "my-linux")
	lines := 0
	for _, block := range blocks.FindAllStringSubmatch(readme, -1) {
		for line := range strings.Lines(block[1]) {
			words := strings.Fields(strings.ReplaceAll(line, "$(uname -m)", "x86_64"))
			if len(words) < 2 || words[0] != "sudo" || words[1] != "nspawn-build" {
				continue
			}
			lines++
			a := newApp(streams{})
			command := a.cli.Command("create")
			if words = words[2:]; a.cli.Command(words[0]) != nil {
				command, words = a.cli.Command(words[0]), words[1:]
			}
			if !slices.Contains(words, "--distro") {
				t.Errorf("%q names no distribution", line)
			}
			for _, w := range words {
				if strings.HasPrefix(w, "-") && !slices.ContainsFunc(command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), strings.TrimLeft(w, "-")) }) {
					t.Errorf("%q: %s has no flag %s", line, command.Name, w)
				}
			}
		}
	}
	if lines != 2 {
		t.Errorf("%d command lines were found in\n%s", lines, readme)
	}
}
