//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestOfTenCreatesOfOneNameOneMakesIt(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	before := h.Snapshot(t)
	var running []*testhost.Process
	for range 10 {
		running = append(running, h.Start(t, testhost.Command{Args: fixture("box", "--option", "delay=3s")}))
	}
	made := 0
	for _, p := range running {
		switch r := p.Wait(t, 2*time.Minute); r.Exit {
		case exitDone:
			made++
		case exitExists:
			if !strings.Contains(r.Stderr, "box") || !strings.Contains(r.Stderr, "hint:") {
				t.Errorf("it does not say what is in the way: %s", r)
			}
		default:
			t.Errorf("neither made nor refused: %s", r)
		}
	}
	if made != 1 {
		t.Errorf("%d made it", made)
	}
	checkMachine(t, h, create(t, h, fixture("box", "--option", "delay=3s")...))
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}

func TestFiveMachinesMadeAtOnceHaveSubnetsOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			running := map[string]*testhost.Process{}
			for i := range 5 {
				name := fmt.Sprintf("box%d", i)
				running[name] = h.Start(t, testhost.Command{Args: fixture(name, "--output", "json", "--timeout", "4m")})
			}
			owner := map[string]string{}
			var all []created
			for name, p := range running {
				r := want(t, exitDone, p.Wait(t, 5*time.Minute))
				var m created
				if err := json.Unmarshal([]byte(r.Stdout), &m); err != nil {
					t.Fatalf("%v: %s", err, r)
				}
				if other, taken := owner[m.Address.String()]; taken {
					t.Errorf("%s and %s both have %s", name, other, m.Address)
				}
				owner[m.Address.String()] = name
				all = append(all, m)
			}
			keys, ids := map[string]bool{}, map[string]bool{}
			for _, m := range all {
				checkMachine(t, h, m)
				keys[ssh(t, h, "root@"+m.Address.String(), "cat /etc/ssh/ssh_host_*_key.pub").Stdout] = true
				ids[ssh(t, h, "root@"+m.Address.String(), "cat /etc/machine-id").Stdout] = true
			}
			if len(keys) != 5 || len(ids) != 5 {
				t.Errorf("five machines have %d host keys and %d machine-ids", len(keys), len(ids))
			}
			for _, m := range all {
				destroy(t, h, m.Name)
			}
			nothingLeft(t, h, before)
		})
	}
}
