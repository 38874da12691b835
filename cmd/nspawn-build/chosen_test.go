package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func TestOfManyFailuresEachIsToldAndTheFirstCounts(t *testing.T) {
	locked, missing := fmt.Errorf("a: %w", store.ErrLocked), fmt.Errorf("b: %w", store.ErrNoMachine)
	for _, tt := range []struct {
		errs []error
		want int
	}{
		{[]error{nil, nil}, exitDone},
		{[]error{nil, missing, nil}, exitNoMachine},
		{[]error{locked, missing}, exitExists},
		{[]error{nil, missing, locked}, exitNoMachine},
	} {
		var stderr bytes.Buffer
		a := newApp(streams{os.Stdin, &bytes.Buffer{}, &stderr})
		err := several(tt.errs...)
		if err == nil {
			if tt.want != exitDone {
				t.Errorf("%v is no failure", tt.errs)
			}
			continue
		}
		if got := a.report(context.Background(), err); got != tt.want {
			t.Errorf("%v: exit status %d, want %d", tt.errs, got, tt.want)
		}
		for _, e := range tt.errs {
			if e != nil && !strings.Contains(stderr.String(), "error: "+e.Error()+"\n") {
				t.Errorf("%v is not told:\n%s", e, stderr.String())
			}
		}
	}
}

func TestAnInterruptionOfManyIsToldOnce(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errInterrupted)
	_, errs := machines.Each(ctx, []string{"a", "b", "c"}, func(context.Context, string) (bool, error) { return true, nil })
	var stderr bytes.Buffer
	a := newApp(streams{os.Stdin, &bytes.Buffer{}, &stderr})
	if got := a.report(ctx, several(errs...)); got != exitInterrupted || stderr.String() != "error: interrupted\n" {
		t.Errorf("exit status %d, told: %s", got, stderr.String())
	}
}

func TestWhatIsToldOfOneOfManyNamesIt(t *testing.T) {
	var got []string
	house := &machines.House{Tell: func(e pipeline.Event) { got = append(got, e.Stage) }}
	named(house, "box").Tell(pipeline.Event{Stage: "boot"})
	house.Tell(pipeline.Event{Stage: "boot"})
	if strings.Join(got, ",") != "box boot,boot" {
		t.Errorf("told of %q", got)
	}
}

func TestTheEndOfAMachinesTimeIsSaidInAWord(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		-time.Hour: "over", 0: "over", 30 * time.Second: "in 30s", 5*time.Minute + time.Second: "in 5m",
		3*time.Hour + 4*time.Minute: "in 3h04m", 72 * time.Hour: "in 3d",
	} {
		at := now.Add(left)
		if got := expiry(&at, now); got != want {
			t.Errorf("%s before its end: %q, want %q", left, got, want)
		}
	}
	if got := expiry(nil, now); got != "never" {
		t.Errorf("without an end: %q", got)
	}
}

// A default for the labels of new machines must not choose what is destroyed.
func TestDefaultsOfAHostNeverChooseMachines(t *testing.T) {
	defaults := config{"label": {"project=web"}, "timeout": {"4m"}}
	app := newApp(streams{os.Stdin, &bytes.Buffer{}, &bytes.Buffer{}}).cli
	for name, wanted := range map[string]bool{"create": true, "destroy": false, "stop": false, "list": false} {
		c := app.Command(name)
		c.Action = func(ctx *cli.Context) error {
			if err := defaults.apply(ctx); err != nil {
				return err
			}
			if got := len(ctx.StringSlice("label")) > 0; got != wanted {
				t.Errorf("%s takes the label: %v", name, got)
			}
			if name == "stop" && ctx.Duration("timeout") != defaultGrace {
				t.Errorf("stop takes the time for booting: %s", ctx.Duration("timeout"))
			}
			return nil
		}
		if err := app.Run([]string{"nspawn-build", name}); err != nil {
			t.Error(err)
		}
	}
}

func TestNobodyIsAskedWhereThereIsNoTerminal(t *testing.T) {
	a := newApp(streams{strings.NewReader("n\n"), &bytes.Buffer{}, &bytes.Buffer{}})
	if err := a.confirm([]string{"box"}); err != nil {
		t.Error(err)
	}
	if v := judge(context.Background(), errors.Join(errCalledOff)); v.code != exitInterrupted {
		t.Errorf("called off is %d", v.code)
	}
}
