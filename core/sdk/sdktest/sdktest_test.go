package sdktest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// plugin reports from several goroutines and fails.
type plugin struct{}

func (plugin) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{Name: "example", Protocol: "0.0"}, nil
}

func (plugin) Validate(context.Context, sdk.Request) (sdk.Validation, error) {
	return sdk.Validation{}, errors.New("no \xff")
}

func (plugin) Plan(context.Context, sdk.Request) (sdk.Plan, error) {
	return sdk.Plan{Packages: []string{"base"}}, nil
}

func (plugin) Bootstrap(_ context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	var reporting sync.WaitGroup
	for range 8 {
		reporting.Go(func() {
			to.Phase("unpack")
			to.Line("a line")
			to.Warning("a warning", "a hint")
		})
	}
	reporting.Wait()
	return sdk.Facts{}, &sdk.Failure{Code: sdk.CodeDisk, Message: "full"}
}

func TestStartPutsTheProtocolInBetween(t *testing.T) {
	client := sdktest.Start(t, plugin{})
	d, err := client.Describe(t.Context())
	if err != nil || d.Protocol != sdk.Protocol {
		t.Errorf("Describe: %+v, %v: the protocol's version is not the plugin's to say", d, err)
	}
	var failure *sdk.Failure
	if _, err := client.Validate(t.Context(), sdk.Request{}); !errors.As(err, &failure) || failure.Message != "no \ufffd" || failure.Code != sdk.CodeTool {
		t.Errorf("Validate: %v", err)
	}
	p, err := client.Plan(t.Context(), sdk.Request{})
	if diff := cmp.Diff(sdk.Plan{Packages: []string{"base"}}, p); diff != "" || err != nil {
		t.Errorf("Plan: %v (-want +got):\n%s", err, diff)
	}
}

func TestRecorderKeepsEverything(t *testing.T) {
	client := sdktest.Start(t, plugin{})
	var recorder sdktest.Recorder
	_, err := client.Bootstrap(t.Context(), sdk.Request{JobID: "j"}, &recorder)
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeDisk {
		t.Errorf("got %v", err)
	}
	for kind, texts := range map[string][]string{
		"phase": recorder.Phases(), "line": recorder.Lines(), "warning": recorder.Warnings(),
	} {
		if len(texts) != 8 {
			t.Errorf("%d of kind %s, want 8", len(texts), kind)
		}
	}
	if len(recorder.Events()) != 24 {
		t.Errorf("%d events, want 24", len(recorder.Events()))
	}
}

func TestWhatIsPlantedIsFound(t *testing.T) {
	files := map[string]string{"etc/passwd": "root", "etc/mtab": "->../proc/self/mounts", "empty": ""}
	if diff := cmp.Diff(files, sdktest.Planted(t, sdktest.Plant(t, files))); diff != "" {
		t.Errorf("the files differ (-want +got):\n%s", diff)
	}
}
