package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/driver/still"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/readiness"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func TestEachErrorHasItsExitStatus(t *testing.T) {
	inStage := func(stage string, err error) error { return &pipeline.Error{Stage: stage, Err: err} }
	other := errors.New("something")
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"something else", other, 1},
		{"usage", &usageError{"x", "y"}, 2},
		{"invalid spec", spec.Invalid{{Field: "name"}}, 2},
		{"no plugin", fmt.Errorf("x: %w", pluginhost.ErrNoPlugin), 2},
		{"password needed again", inStage(stages.NamePassword, stages.ErrPasswordNeeded), 2},
		{"host", &machines.HostError{Problem: "x"}, 3},
		{"a format's program is missing", &image.MissingError{}, 3},
		{"no loop device", image.ErrNoLoop, 3},
		{"plugin refused", &pluginhost.RefusedError{}, 3},
		{"tool missing", inStage(stages.NameBootstrap, &sdk.Failure{Code: sdk.CodeHostNotReady}), 3},
		{"mirror", inStage(stages.NameBootstrap, &sdk.Failure{Code: sdk.CodeMirror}), 4},
		{"plugin died", inStage(stages.NameBootstrap, &pluginhost.DiedError{}), 4},
		{"plugin died while it was asked", &pluginhost.DiedError{}, 4},
		{"plugin breaks the protocol", fmt.Errorf("x: %w", pluginhost.ErrProtocol), 4},
		{"plugin answers with a status", fmt.Errorf("x: %w", &sdk.ProtocolError{ID: sdk.RuleAnswers, Err: other}), 4},
		{"plugin hangs", fmt.Errorf("x: %w", pluginhost.ErrUnresponsive), 4},
		{"plugin of another protocol", &pluginhost.VersionError{}, 3},
		{"two plugins", &pluginhost.AmbiguousError{Distro: "x"}, 3},
		{"bootstrap", inStage(stages.NameBootstrap, other), 4},
		{"password", inStage(stages.NamePassword, other), 5},
		{"services", inStage(stages.NameServices, other), 5},
		{"network", inStage(stages.NameNetwork, other), 5},
		{"settings", inStage(stages.NameSettings, other), 5},
		{"limits", inStage(stages.NameLimits, other), 5},
		{"boot", inStage(stages.NameBoot, other), 6},
		{"no leader", inStage(stages.NameBoot, &readiness.Error{Rung: readiness.LeaderRuns}), 6},
		{"systemd never up", inStage(stages.NameBoot, &readiness.Error{Rung: readiness.SystemdUp}), 6},
		{"no address", inStage(stages.NameBoot, &readiness.Error{Rung: readiness.Addressed}), 7},
		{"no sshd", inStage(stages.NameBoot, &readiness.Error{Rung: readiness.Answers}), 7},
		{"foreign key", inStage(stages.NameBoot, &readiness.Error{Rung: readiness.KeyIsOurs}), 7},
		{"no login", inStage(stages.NameBoot, &readiness.Error{Rung: readiness.LoggedIn}), 7},
		{"no names", inStage(stages.NameBoot, &readiness.Error{Rung: readiness.Resolves}), 7},
		{"does not run", &notRunningError{"x"}, 6},
		{"cannot reboot", &machines.NotRunningError{Name: "x"}, 6},
		{"called off", errCalledOff, 130},
		{"exists", &machines.ExistsError{Name: "x"}, 8},
		{"runs", &machines.RunsError{Name: "x"}, 8},
		{"cannot hold still", inStage(stages.NameBootstrap, fmt.Errorf("x: %w", still.ErrCannot)), 3},
		{"mounted", inStage(stages.NameBootstrap, rootfs.ErrMounted), 4},
		{"locked", fmt.Errorf("x: %w", store.ErrLocked), 8},
		{"foreign file", inStage(stages.NameNetwork, hostfile.ErrForeign), 8},
		{"incomplete", machines.ErrIncomplete, 8},
		{"no machine", fmt.Errorf("x: %w", store.ErrNoMachine), 9},
		{"interrupted", inStage(stages.NameBootstrap, errInterrupted), 130},
		{"command in the machine", statusError(42), 42},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(context.Background(), tt.err).code; got != tt.want {
				t.Errorf("exit status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestInterruptionCountsWhateverItLooksLike(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errInterrupted)
	err := &pipeline.Error{Stage: stages.NameBootstrap, Err: &sdk.Failure{Code: sdk.CodeCanceled}}
	if got := judge(ctx, err).code; got != exitInterrupted {
		t.Errorf("exit status %d, want %d", got, exitInterrupted)
	}
}

func TestADistroThatIsNotThereIsAnsweredWithTheOneThatWasMeant(t *testing.T) {
	for distro, want := range map[string]string{"debain": "did you mean debian?", "plan9": "nspawn-build plugin list shows what there is"} {
		v := judge(t.Context(), errors.Join(&pluginhost.NoPluginError{Distro: distro, Known: []string{"arch", "debian"}}))
		if v.code != exitUsage || v.hint != want {
			t.Errorf("%s: %+v, want %q", distro, v, want)
		}
	}
}
