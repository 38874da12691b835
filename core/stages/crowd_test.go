package stages

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/readiness"
)

func TestAMachineTooManyIsToldTheLimitThatCounts(t *testing.T) {
	for line, want := range map[string]string{
		`Failed to create control group inotify object: Too many open files`: host.InotifyHint,
		"Welcome to Debian": "read what it printed",
	} {
		err := crowded(fmt.Errorf("boot: %w", &readiness.Error{Hint: "read what it printed", Journal: []string{"Detected", line}}))
		var notReady *readiness.Error
		if !errors.As(err, &notReady) || notReady.Hint != want {
			t.Errorf("%q: the hint is %+v", line, err)
		}
	}
	if crowded(nil) != nil {
		t.Error("nothing went wrong")
	}
}
