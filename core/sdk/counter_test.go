package sdk_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func TestLinesAreCounted(t *testing.T) {
	var seen sdktest.Recorder
	count := sdk.Counter(&seen, "packages", regexp.MustCompile(`^\((?P<done>\d+)/(?P<total>\d+)\)(?: (?P<item>\S+))?`))
	for _, line := range []string{"(1/2) glibc", "nothing", "(2/2)", "(9/2) beyond", "(99999999999999999999/2) too many"} {
		count(line)
	}
	sdk.Counter(&seen, "packages", regexp.MustCompile(`nothing`))("nothing") // a form without the groups
	var got []sdk.Progress
	for _, e := range seen.Events() {
		got = append(got, e.Progress)
	}
	want := []sdk.Progress{
		{Done: 1, Total: 2, Unit: "packages", Item: "glibc"}, {Done: 2, Total: 2, Unit: "packages"}, {Done: 2, Total: 2, Unit: "packages", Item: "beyond"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestOnlyAMirrorIsAskedAgain(t *testing.T) {
	mirror := &sdk.Failure{Code: sdk.CodeMirror, Message: "it hung up"}
	for name, c := range map[string]struct {
		fails []error
		tries int
		ends  error
	}{
		"at once":           {nil, 1, nil},
		"the second time":   {[]error{mirror}, 2, nil},
		"never":             {[]error{mirror, mirror, mirror, mirror}, 3, mirror},
		"for other reasons": {[]error{context.DeadlineExceeded}, 1, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := sdk.Retry(t.Context(), &sdktest.Recorder{}, func(context.Context) error {
				if tries++; tries <= len(c.fails) {
					return c.fails[tries-1]
				}
				return nil
			})
			if !errors.Is(err, c.ends) || tries != c.tries {
				t.Errorf("%s: %d tries, %v", name, tries, err)
			}
		})
	}
}

func TestNobodyWaitsForAMirrorWhenTheJobIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tries := 0
		err := sdk.Retry(ctx, &sdktest.Recorder{}, func(context.Context) error {
			tries++
			cancel()
			return &sdk.Failure{Code: sdk.CodeMirror}
		})
		if err == nil || tries != 1 {
			t.Errorf("%d tries, %v", tries, err)
		}
	})
}
