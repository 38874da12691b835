package sdk_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func TestMain(m *testing.M) {
	// What the tests' own caller left open is not to be blamed on a Command.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// double is a plugin whose answers a test sets.
type double struct {
	describe  func() (sdk.Description, error)
	validate  func(sdk.Request) (sdk.Validation, error)
	plan      func(sdk.Request) (sdk.Plan, error)
	bootstrap func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error)
}

func (d double) Describe(context.Context) (sdk.Description, error) { return d.describe() }

func (d double) Validate(_ context.Context, r sdk.Request) (sdk.Validation, error) {
	return d.validate(r)
}

func (d double) Plan(_ context.Context, r sdk.Request) (sdk.Plan, error) { return d.plan(r) }

func (d double) Bootstrap(ctx context.Context, r sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	return d.bootstrap(ctx, r, to)
}

var wholeRequest = sdk.Request{
	JobID: "job-1", Distro: "example", Release: "one", Architecture: "x86_64",
	Mirrors: []string{"https://mirror.example.org/one"}, Keyring: "/etc/keys.gpg",
	Packages: []string{"vim", "less"}, Options: map[string]string{"variant": "minbase"},
	Target: "/srv/target", CacheDirectory: "/srv/cache", WorkDirectory: "/srv/work",
	Snapshot: "2026-11-01", SourceDateEpoch: 1_790_000_000, Pinned: []sdk.Package{wholePackage},
}

var wholePackage = sdk.Package{
	Name: "base", Version: "1-2", Architecture: "all", Source: "base-src", SourceVersion: "1",
	License: "MIT", SHA256: strings.Repeat("0f", 32),
}

// stater is a double that has a state, too.
type stater struct {
	double
	state func(sdk.Request) (sdk.State, error)
}

func (s stater) State(_ context.Context, r sdk.Request) (sdk.State, error) { return s.state(r) }

func TestEveryFieldCrossesTheProtocol(t *testing.T) {
	description := sdk.Description{
		Name: "example", Version: "1.2.3", Protocol: sdk.Protocol,
		Distros: []sdk.Distro{{
			Name: "example", Title: "Example OS", Releases: []string{"two", "one"},
			DefaultRelease: "two", Architectures: []string{"x86_64"},
		}},
		Tools: []sdk.ToolNeed{{
			AnyOf: []string{"mk", "mk-old"}, Purpose: "unpacking",
			Packages: map[string]string{"debian": "mk"}, Distros: []string{"example"},
		}},
		Options:  []sdk.Option{{Name: "variant", Help: "which set", Choices: []string{"a", "b"}, Default: "a"}},
		Features: []string{sdk.FeatureSnapshot, sdk.FeatureState},
	}
	state := sdk.State{Engine: "mk 2", Repository: map[string]string{"one main": "sha256:00"}}
	validation := sdk.Validation{
		Diagnostics: []sdk.Diagnostic{
			{Severity: sdk.SeverityWarning, Field: "release", Message: "old", Hint: "use two"},
			{Severity: sdk.SeverityError, Field: "mirrors", Message: "none"},
		},
		Resolved: wholeRequest,
	}
	plan := sdk.Plan{
		Commands: [][]string{{"mk", "--fast"}, {"sync"}}, Packages: []string{"base"}, EstimatedBytes: 1 << 40,
	}
	facts := sdk.Facts{
		OSRelease: map[string]string{"ID": "example"}, SSHUnits: []string{"sshd.service"},
		NetworkUnits: []string{"systemd-networkd.service"}, ResolverUnits: []string{"systemd-resolved.service"},
		PackageManager: "mk-get", Packages: []sdk.Package{wholePackage},
		MaskUnits: []string{"getty@tty1.service"}, ProbeHost: "mirror.example.org",
	}
	var seen []sdk.Request
	client := sdktest.Start(t, stater{
		double: double{
			describe: func() (sdk.Description, error) { return description, nil },
			validate: func(r sdk.Request) (sdk.Validation, error) { seen = append(seen, r); return validation, nil },
			plan:     func(r sdk.Request) (sdk.Plan, error) { seen = append(seen, r); return plan, nil },
			bootstrap: func(_ context.Context, r sdk.Request, _ sdk.Reporter) (sdk.Facts, error) {
				seen = append(seen, r)
				return facts, nil
			},
		},
		state: func(r sdk.Request) (sdk.State, error) { seen = append(seen, r); return state, nil },
	})

	ctx := t.Context()
	gotDescription, err := client.Describe(ctx)
	expect(t, description, gotDescription, err)
	gotValidation, err := client.Validate(ctx, wholeRequest)
	expect(t, validation, gotValidation, err)
	gotPlan, err := client.Plan(ctx, wholeRequest)
	expect(t, plan, gotPlan, err)
	gotFacts, err := client.Bootstrap(ctx, wholeRequest, &sdktest.Recorder{})
	expect(t, facts, gotFacts, err)
	gotState, err := client.State(ctx, wholeRequest)
	expect(t, state, gotState, err)
	expect(t, []sdk.Request{wholeRequest, wholeRequest, wholeRequest, wholeRequest}, seen, nil)
}

func TestAPluginThatHasAStateIsKnownByItsFeature(t *testing.T) {
	describe := func() (sdk.Description, error) { return sdk.Description{Name: "example"}, nil }
	with := sdktest.Start(t, stater{double: double{describe: describe}})
	without := sdktest.Start(t, double{describe: describe})
	if d, err := with.Describe(t.Context()); err != nil || !d.Has(sdk.FeatureState) {
		t.Errorf("the features of a Stater are %q (%v)", d.Features, err)
	}
	if d, err := without.Describe(t.Context()); err != nil || d.Has(sdk.FeatureState) {
		t.Errorf("the features of a plugin without State are %q (%v)", d.Features, err)
	}
	if _, err := without.State(t.Context(), wholeRequest); err == nil {
		t.Error("a plugin without State answered it")
	}
}

func expect[T any](t *testing.T, want, got T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%T: %v", want, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%T (-want +got):\n%s", want, diff)
	}
}

func TestEventsArriveInOrderAndClean(t *testing.T) {
	client := sdktest.Start(t, double{
		bootstrap: func(_ context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			to.Phase("download")
			to.Progress(sdk.Progress{Done: 3, Total: 10, Unit: "packages", Item: "libc6"})
			to.Progress(sdk.Progress{Done: 2, Total: 10, Unit: "packages", Item: "less"})
			to.Progress(sdk.Progress{Done: 11, Total: 10, Unit: "packages", Item: "vim"})
			to.Line("\x1b[31mred\x1b[0m and \xff not UTF-8")
			to.Phase("unpack")
			to.Progress(sdk.Progress{Done: 1, Unit: "packages"})
			to.Warning("slow", "use another")
			return sdk.Facts{OSRelease: map[string]string{"ID": "a\xffb"}}, nil
		},
	})
	var recorder sdktest.Recorder
	facts, err := client.Bootstrap(t.Context(), wholeRequest, &recorder)
	expect(t, sdk.Facts{OSRelease: map[string]string{"ID": "a\ufffdb"}}, facts, err)
	expect(t, []sdktest.Event{
		{Kind: "phase", Text: "download"},
		{Kind: "progress", Progress: sdk.Progress{Done: 3, Total: 10, Unit: "packages", Item: "libc6"}},
		{Kind: "progress", Progress: sdk.Progress{Done: 3, Total: 10, Unit: "packages", Item: "less"}},
		{Kind: "progress", Progress: sdk.Progress{Done: 10, Total: 10, Unit: "packages", Item: "vim"}},
		{Kind: "line", Text: "red and \ufffd not UTF-8"},
		{Kind: "phase", Text: "unpack"},
		{Kind: "progress", Progress: sdk.Progress{Done: 1, Unit: "packages"}},
		{Kind: "warning", Text: "slow", Hint: "use another"},
	}, recorder.Events(), nil)
}

func TestAFailureReachesTheHostWhole(t *testing.T) {
	failure := &sdk.Failure{
		Code: sdk.CodeMirror, Message: "the mirror is broken", Hint: "use another",
		Tail: []string{"E: 404"}, Err: errors.New("the cause"),
	}
	client := sdktest.Start(t, double{
		plan: func(sdk.Request) (sdk.Plan, error) { return sdk.Plan{}, failure },
		bootstrap: func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
			return sdk.Facts{}, failure
		},
	})
	_, fromPlan := client.Plan(t.Context(), wholeRequest)
	_, fromBootstrap := client.Bootstrap(t.Context(), wholeRequest, &sdktest.Recorder{})
	for call, err := range map[string]error{"Plan": fromPlan, "Bootstrap": fromBootstrap} {
		var got *sdk.Failure
		if !errors.As(err, &got) {
			t.Errorf("%s returned %T (%v), not a *sdk.Failure", call, err, err)
			continue
		}
		want := &sdk.Failure{
			Code: sdk.CodeMirror, Message: "the mirror is broken: the cause", Hint: "use another",
			Tail: []string{"E: 404"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", call, diff)
		}
	}
}

func TestCancelReachesThePluginAndItsLastEventsReachTheHost(t *testing.T) {
	started := make(chan struct{})
	client := sdktest.Start(t, double{
		bootstrap: func(ctx context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			close(started)
			<-ctx.Done()
			to.Line("cleaning up")
			return sdk.Facts{}, ctx.Err()
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	var recorder sdktest.Recorder
	_, err := client.Bootstrap(ctx, wholeRequest, &recorder)
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled job returned %v", err)
	}
	expect(t, []string{"cleaning up"}, recorder.Lines(), nil)
}

// Tools that are ended fail in their own ways, of which none is what was wrong.
func TestAJobThatFailsAsItIsCancelledWasCancelled(t *testing.T) {
	started := make(chan struct{})
	client := sdktest.Start(t, double{
		bootstrap: func(ctx context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			return sdk.Facts{}, sdk.Retry(ctx, to, func(context.Context) error {
				close(started)
				<-ctx.Done()
				return &sdk.Failure{Code: sdk.CodeMirror, Message: "the mirror broke off", Hint: "try again"}
			})
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	_, err := client.Bootstrap(ctx, wholeRequest, &sdktest.Recorder{})
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeCanceled {
		t.Errorf("a cancelled job returned %v", err)
	}
}

func TestAPluginThatIgnoresCancelIsGivenUpOn(t *testing.T) {
	release := make(chan struct{})
	client := sdktest.Start(t, double{
		bootstrap: func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
			<-release
			return sdk.Facts{}, nil
		},
	})
	defer close(release)
	client.Grace = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := client.Bootstrap(ctx, wholeRequest, &sdktest.Recorder{})
	if !errors.Is(err, sdk.ErrUnresponsive) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a job that ignores its cancelling returned %v", err)
	}
}

func TestASilentPluginIsGivenUpOn(t *testing.T) {
	client := sdktest.Start(t, double{
		bootstrap: func(ctx context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			for range 5 { // it lives as long as it speaks
				time.Sleep(300 * time.Millisecond)
				to.Line("still here")
			}
			<-ctx.Done()
			return sdk.Facts{}, ctx.Err()
		},
	})
	client.Silence = time.Second
	var recorder sdktest.Recorder
	_, err := client.Bootstrap(t.Context(), wholeRequest, &recorder)
	if !errors.Is(err, sdk.ErrUnresponsive) {
		t.Errorf("a silent job returned %v", err)
	}
	if got := len(recorder.Lines()); got != 5 {
		t.Errorf("%d lines arrived, want all 5", got)
	}
}

func TestALateReporterIsNotHeard(t *testing.T) {
	var late sdk.Reporter
	client := sdktest.Start(t, double{
		bootstrap: func(_ context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			late = to
			return sdk.Facts{}, nil
		},
	})
	_, err := client.Bootstrap(t.Context(), wholeRequest, &sdktest.Recorder{})
	expect(t, sdk.Facts{}, sdk.Facts{}, err)
	late.Line("too late")
}
