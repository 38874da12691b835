package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func manual(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	writeManual(&b, newApp(streams{os.Stdin, &b, &b}).cli)
	return b.String()
}

func TestTheManualHasEveryCommandAndFlag(t *testing.T) {
	text := manual(t)
	var look func(path string, all []*cli.Command)
	look = func(path string, all []*cli.Command) {
		for _, c := range all {
			if len(c.Subcommands) > 0 {
				look(path+c.Name+" ", c.Subcommands)
				continue
			}
			if has := strings.Contains(text, "\n.SS "+roff(path+c.Name)); has == c.Hidden {
				t.Errorf("%s%s is hidden: %v, and in the manual: %v", path, c.Name, c.Hidden, has)
			}
			for _, f := range c.Flags {
				if !c.Hidden && !strings.Contains(text, `\fB`+roff("--"+f.Names()[0])+`\fR`) {
					t.Errorf("--%s of %s%s is not in the manual", f.Names()[0], path, c.Name)
				}
			}
		}
	}
	look("", newApp(streams{os.Stdin, &bytes.Buffer{}, &bytes.Buffer{}}).cli.Commands)
}

func TestNothingInTheManualMeansAnythingToRoff(t *testing.T) {
	for in, want := range map[string]string{
		".so /etc/shadow": `\&.so /etc/shadow`, "'x": `\(aqx`, `a\fBb`: `a\efBb`, "--all": `\-\-all`, "a.b": "a.b",
	} {
		if got := roff(in); got != want {
			t.Errorf("%q is written %q, want %q", in, got, want)
		}
	}
}

func TestManShowsTheManualWithoutAWarning(t *testing.T) {
	page := filepath.Join(t.TempDir(), "nspawn-build.8")
	if err := os.WriteFile(page, []byte(manual(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"groff", "-man", "-Tutf8", "-wall", "-z", page}, {"man", "--warnings=w", "--encoding=utf8", "--local-file", page}} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("needs %s", argv[0])
			}
			t.Skipf("needs %s", argv[0])
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8")
		var out, warnings bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &warnings
		if err := cmd.Run(); err != nil || warnings.Len() > 0 {
			t.Errorf("%v: %v\n%s", argv, err, warnings.String())
		}
		if argv[0] == "man" && (!strings.Contains(out.String(), "nspawn-build --distro debian mycontainer") || !strings.Contains(out.String(), "EXIT STATUS")) {
			t.Errorf("man shows\n%s", out.String())
		}
	}
}
