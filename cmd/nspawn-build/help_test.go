package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestHelpFitsOnATerminal(t *testing.T) {
	for _, c := range newApp(streams{}).cli.Commands {
		if c.Hidden || len(c.Subcommands) > 0 {
			continue
		}
		var out bytes.Buffer
		if code := run(t.Context(), []string{"nspawn-build", c.Name, "--help"}, streams{out: &out, err: &out}); code != 0 {
			t.Errorf("%s --help exits %d", c.Name, code)
		}
		if !strings.Contains(out.String(), "--log-level LEVEL") {
			t.Errorf("%s --help does not name a flag with what it takes:\n%s", c.Name, &out)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 100 {
				t.Errorf("%s --help has a line of %d characters: %s", c.Name, len(line), line)
			}
		}
	}
}
