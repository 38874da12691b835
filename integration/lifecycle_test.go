//go:build integration

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// listed is what list prints of a machine with --output json.
type listed struct {
	Name    string            `json:"name"`
	State   string            `json:"state"`
	Leader  int               `json:"leader"`
	Labels  map[string]string `json:"labels"`
	Expires *time.Time        `json:"expires"`
	Enabled bool              `json:"enabled"`
}

// list returns the machines that a host has.
func list(t *testing.T, h *testhost.Host, args ...string) map[string]listed {
	t.Helper()
	out := h.MustRun(t, append([]string{"nspawn-build", "list", "--output", "json"}, args...)...)
	var all []listed
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("list did not print JSON: %v: %s", err, out)
	}
	byName := map[string]listed{}
	for _, l := range all {
		byName[l.Name] = l
	}
	return byName
}

func names(machines map[string]listed) string {
	var all []string
	for name := range machines {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// makeSeveral makes machines at once, each with flags of its own. They are not
// booted unless the flags say nothing of it.
func makeSeveral(t *testing.T, h *testhost.Host, flags map[string][]string) {
	t.Helper()
	running := map[string]*testhost.Process{}
	for name, more := range flags {
		running[name] = h.Start(t, testhost.Command{Args: fixture(name, append(more, "--timeout", "4m")...)})
	}
	for _, p := range running {
		want(t, exitDone, p.Wait(t, 5*time.Minute))
	}
}

// expire lets the time of a machine be over.
func expire(t *testing.T, h *testhost.Host, name string) {
	t.Helper()
	h.MustRun(t, "sed", "-i", `s/"expires": "20/"expires": "19/`, "/var/lib/nspawn-build/machines/"+name+".json")
}

func TestMachinesAreStartedStoppedAndDestroyedTogether(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			makeSeveral(t, h, map[string][]string{
				"web1": {"--no-boot", "--label", "project=web", "--label", "tier=front"},
				"web2": {"--no-boot", "--label", "project=web", "--ttl", "2h"},
				"api":  {"--no-boot", "--label", "project=api", "--ttl", "1h"},
			})
			all := list(t, h)
			if got := all["web1"].Labels; len(got) != 2 || got["tier"] != "front" {
				t.Errorf("web1 has the labels %v", got)
			}
			if all["web1"].Expires != nil || all["api"].Expires == nil || !all["api"].Expires.After(time.Now()) {
				t.Errorf("they expire %v and %v", all["web1"].Expires, all["api"].Expires)
			}
			for line, wanted := range map[string]string{
				"--label project=web": "web1 web2", "--label project": "api web1 web2", "--label project=web --label tier=front": "web1", "--label project=none": "",
			} {
				if got := names(list(t, h, strings.Fields(line)...)); got != wanted {
					t.Errorf("list %s: %q, want %q", line, got, wanted)
				}
			}
			if table := h.MustRun(t, "nspawn-build", "list"); !strings.Contains(table, "EXPIRES") || !strings.Contains(table, "in 1h59m") || !strings.Contains(table, "never") {
				t.Errorf("the table does not say when they expire:\n%s", table)
			}
			if r := h.Run(t, "nspawn-build", "status", "web2"); !strings.Contains(r.Stdout, "project=web") || !strings.Contains(r.Stdout, "expires") {
				t.Errorf("status: %s", r)
			}

			want(t, exitDone, h.Run(t, "nspawn-build", "start", "--label", "project=web", "--timeout", "4m"))
			all = list(t, h)
			if all["web1"].State != "running" || all["web2"].State != "running" || all["api"].State != "stopped" {
				t.Errorf("after the start of two: %v", all)
			}
			r := want(t, exitNoMachine, h.Run(t, "nspawn-build", "stop", "web1", "nosuch", "web2"))
			if r.Stdout != "web1 is off\nweb2 is off\n" || !strings.Contains(r.Stderr, "nosuch: no such machine") {
				t.Errorf("stop: %s", r)
			}

			t.Run("what is over goes, and what is worked on is left", func(t *testing.T) {
				if r := want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "--expired")); r.Stdout != "no machines\n" {
					t.Errorf("before their time: %s", r)
				}
				expire(t, h, "web2")
				expire(t, h, "api")
				if table := h.MustRun(t, "nspawn-build", "list"); !strings.Contains(table, "over") {
					t.Errorf("the table does not say so:\n%s", table)
				}
				const lock = "/run/nspawn-build/locks/machine-api"
				h.MustRun(t, "mkdir", "-m", "0700", "-p", "/run/nspawn-build/locks")
				holder := h.Start(t, testhost.Command{Args: []string{"flock", "--no-fork", lock, "sleep", "infinity"}})
				h.Eventually(t, time.Minute, "sh", "-c", "test -e "+lock+" && ! flock --nonblock "+lock+" true")
				r := want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "--expired"))
				if r.Stdout != "web2 is destroyed\n" || !strings.Contains(r.Stderr, "api is expired, and left for later") {
					t.Errorf("destroy --expired: %s", r)
				}
				if err := holder.Signal(9); err != nil {
					t.Fatal(err)
				}
				holder.Wait(t, time.Minute)
				if got := names(list(t, h)); got != "api web1" {
					t.Errorf("left are %q", got)
				}
			})
			t.Run("on a terminal it asks", func(t *testing.T) {
				ask := func(answer string) testhost.Result {
					return h.RunInput(t, answer, "script", "--quiet", "--return", "--command", "nspawn-build destroy --all", "/dev/null")
				}
				r := want(t, exitInterrupted, ask("n\n"))
				if !strings.Contains(r.Stdout, "Destroy these 2 machines with everything in it? [y/N]") || names(list(t, h)) != "api web1" {
					t.Errorf("after n: %s", r)
				}
				want(t, exitDone, ask("y\n"))
				if got := names(list(t, h)); got != "" {
					t.Errorf("left are %q", got)
				}
			})
			nothingLeft(t, h, before)
		})
	}
}

func TestDestroyAllLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			makeSeveral(t, h, map[string][]string{"one": nil, "two": nil, "three": nil, "off": {"--no-boot"}})
			// Half made: what a crash left is destroyed with the others.
			killed := h.Start(t, testhost.Command{Args: fixture("half", "--option", "delay=60s")})
			h.Eventually(t, time.Minute, "test", "-s", "/var/lib/nspawn-build/journal/half.jsonl")
			if err := killed.Signal(9); err != nil {
				t.Fatal(err)
			}
			killed.Wait(t, time.Minute)
			r := want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "--all", "--output", "json"))
			var gone []struct {
				Name      string
				Destroyed bool
			}
			if err := json.Unmarshal([]byte(r.Stdout), &gone); err != nil || len(gone) != 5 {
				t.Fatalf("%v: %s", err, r)
			}
			for _, g := range gone {
				if !g.Destroyed {
					t.Errorf("%s is not destroyed: %s", g.Name, r)
				}
			}
			nothingLeft(t, h, before)
			if r := want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "--all")); r.Stdout != "no machines\n" {
				t.Errorf("again: %s", r)
			}
		})
	}
}
