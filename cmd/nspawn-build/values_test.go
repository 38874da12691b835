package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// TestACommaIsPartOfAValue tries every flag that may be repeated, in the command
// line and in the environment.
func TestACommaIsPartOfAValue(t *testing.T) {
	values := []string{"A=1,2", "/a,b", "80:80,81:81"}
	for _, command := range newApp(streams{strings.NewReader(""), &strings.Builder{}, &strings.Builder{}}).cli.Commands {
		for _, flag := range command.Flags {
			list, ok := flag.(*cli.StringSliceFlag)
			if !ok {
				continue
			}
			t.Run(command.Name+" --"+list.Name, func(t *testing.T) {
				if got := valuesOf(t, command.Name, list.Name, values...); !cmp.Equal(got, values) {
					t.Errorf("got %q", got)
				}
				if len(list.EnvVars) > 0 {
					t.Setenv(list.EnvVars[0], values[0])
					if got := valuesOf(t, command.Name, list.Name); !cmp.Equal(got, values[:1]) {
						t.Errorf("from the environment: %q", got)
					}
				}
			})
		}
	}
}

func TestSpacesAroundAVariablesValueAreKept(t *testing.T) {
	for command, flag := range map[string]string{"exec": "env", "shell": "setenv"} {
		if got := valuesOf(t, command, flag, "A= b "); !cmp.Equal(got, []string{"A= b "}) {
			t.Errorf("%s --%s: %q", command, flag, got)
		}
	}
}

// valuesOf is what a command makes of a flag given once for each value.
func valuesOf(t *testing.T, command, flag string, values ...string) (got []string) {
	t.Helper()
	a := newApp(streams{strings.NewReader(""), &strings.Builder{}, &strings.Builder{}})
	a.cli.Command(command).Action = func(ctx *cli.Context) error {
		got = ctx.StringSlice(flag)
		return nil
	}
	line := []string{"nspawn-build", command}
	for _, v := range values {
		line = append(line, "--"+flag, v)
	}
	arranged, err := arrange(append(line, "box"), a.cli)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cli.RunContext(context.Background(), arranged); err != nil {
		t.Fatal(err)
	}
	return got
}
