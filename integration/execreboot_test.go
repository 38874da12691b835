//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestACommandOfExecDoesNotKeepAMachineFromRebooting has one run that would not
// end by itself.
func TestACommandOfExecDoesNotKeepAMachineFromRebooting(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			create(t, h, fixture("box")...)
			p := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "exec", "box", "sh", "-c", "echo runs; exec sleep infinity"}})
			if !p.Await(p.Stdout, time.Minute, func(text string) bool { return strings.Contains(text, "runs") }) {
				t.Fatal("the command does not run")
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "reboot", "box"))
			if r := p.Wait(t, time.Minute); r.Exit == 0 {
				t.Errorf("the command is said to have ended well: %s", r)
			}
			destroy(t, h, "box")
		})
	}
}
