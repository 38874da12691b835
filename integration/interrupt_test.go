//go:build integration

package integration

import (
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestOneInterruptEndsARunInGoodOrder(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			for _, c := range []struct{ name, delay, when string }{
				{"while the plugin waits", "delay=60s", `"msg":"bootstrap: wait"`},
				{"while the plugin's tool runs", "delay=0s", `"msg":"bootstrap: unpack"`},
				{"while the machine boots", "delay=0s", `"msg":"boot: leader running"`},
			} {
				t.Run(c.name, func(t *testing.T) {
					p := h.Start(t, testhost.Command{Args: fixture("box", "--option", c.delay, "--log-format", "json")})
					awaitText(t, p, c.when)
					if err := p.Signal(syscall.SIGINT); err != nil {
						t.Fatal(err)
					}
					want(t, exitInterrupted, p.Wait(t, 30*time.Second))
					nothingLeft(t, h, before)
				})
			}
		})
	}
}

func TestAPluginThatIgnoresTheInterruptIsEnded(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	p := h.Start(t, testhost.Command{Args: fixture("box", "--option", "delay=10m", "--option", "deaf=yes", "--log-format", "json")})
	awaitText(t, p, `"msg":"bootstrap: wait"`)
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	want(t, exitInterrupted, p.Wait(t, time.Minute))
	nothingLeft(t, h, before)
}

func TestASecondInterruptEndsARunAtOnce(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	p := h.Start(t, testhost.Command{Args: fixture("box", "--option", "delay=60s", "--option", "deaf=yes", "--log-format", "json")})
	awaitText(t, p, `"msg":"bootstrap: wait"`)
	for range 2 {
		if err := p.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // two that arrive together are one
	}
	start := time.Now()
	want(t, exitInterrupted, p.Wait(t, 10*time.Second))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("at once took %s", took)
	}
	if r := h.Run(t, "nspawn-build", "destroy", "box"); r.Exit != exitDone && r.Exit != exitNoMachine {
		t.Errorf("what is left cannot be destroyed: %s", r)
	}
	nothingLeft(t, h, before)
}
