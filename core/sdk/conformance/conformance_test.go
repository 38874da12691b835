package conformance_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/integration/misbehave"
)

// check runs the rules over a mode in this process.
func check(t *testing.T, m misbehave.Mode) conformance.Report {
	t.Helper()
	return sdktest.Check(t, sdktest.Config{Register: func(s grpc.ServiceRegistrar) { misbehave.Register(s, m) }})
}

func withStatus(r conformance.Report, status conformance.Status) (ids []string) {
	for _, result := range r.Results {
		if result.Status == status {
			ids = append(ids, result.ID)
		}
	}
	return ids
}

func TestAPluginThatIsInOrderKeepsToEveryRule(t *testing.T) {
	sdktest.AsRoot(t) // whose files a tree has
	m, _ := misbehave.Find(misbehave.Exemplary)
	r := check(t, m)
	for _, result := range r.Results {
		switch {
		case result.Status == conformance.Broken:
			t.Errorf("%s: %q", result.ID, result.Seen)
		case result.Status == conformance.Skipped && result.Group != conformance.GroupHandshake && result.Group != conformance.GroupBoot && result.Group != conformance.GroupState && result.ID != "output-bounded":
			t.Errorf("%s was not looked at: %s", result.ID, result.Skipped)
		}
	}
	if !r.OK || r.Plugin != misbehave.Exemplary || r.Release != "1" {
		t.Errorf("%+v", r)
	}
}

// elsewhere are modes that cannot be run in the process of the test: it would
// hang, die or be mounted over with them.
var elsewhere = []string{"panic", "killed", "silent", "stop", "deaf", "flood", "daemon", "mounts", "intruder", "hang-describe", "hang-validate", "liar", "open-end"}

func TestEachRuleFindsWhatItIsFor(t *testing.T) {
	sdktest.AsRoot(t)
	for _, m := range misbehave.Modes() {
		if m.Early() || slices.Contains(elsewhere, m.Name) {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			r := check(t, m)
			if diff := cmp.Diff(m.Breaks, withStatus(r, conformance.Broken)); diff != "" {
				t.Errorf("the rules that are broken differ (-want +got):\n%s", diff)
				_ = r.WriteText(os.Stderr)
			}
			var text strings.Builder
			if err := r.WriteText(&text); err != nil || strings.ContainsAny(text.String(), "\x1b\a\x00") {
				t.Errorf("the report is more than text: %q, %v", text.String(), err)
			}
		})
	}
}

// beyond are rules that no mode can break, each for a reason.
var beyond = map[string]string{
	sdk.RuleDescribeName: "a file of a name that is none is no plugin's, and is not run",
	"boot-booted":        "nothing is booted without --boot; core/verify is tested with trees that lack each of these",
	"boot-address":       "as boot-booted",
	"boot-dns":           "as boot-booted",
	"boot-sshd":          "as boot-booted",
	"boot-clean-stop":    "as boot-booted",
}

func TestEachRuleIsBrokenByAPlugin(t *testing.T) {
	breaks := map[string]bool{}
	for _, m := range misbehave.Modes() {
		for _, id := range m.Breaks {
			breaks[id] = true
		}
	}
	for _, r := range conformance.Rules() {
		switch why := beyond[r.ID]; {
		case !breaks[r.ID] && why == "":
			t.Errorf("nothing shows that %s finds what it is for", r.ID)
		case breaks[r.ID] && why != "":
			t.Errorf("%s is broken by a mode, and was said to be beyond that", r.ID)
		}
	}
}

func TestRulesHaveNamesAndReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range conformance.Rules() {
		if r.ID == "" || seen[r.ID] || strings.ToLower(r.ID) != r.ID || r.Group == "" || !strings.HasSuffix(r.Says, ".") || !strings.HasSuffix(r.Why, ".") || !strings.HasSuffix(r.Meet, ".") {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
	for _, id := range []string{
		sdk.RuleHandshakeLine, sdk.RuleHandshakeSocket, sdk.RuleHandshakeTLS, sdk.RuleHandshakeVersion, sdk.RuleHandshakeName,
		sdk.RuleDescribeName, sdk.RuleDescribeDistros, sdk.RuleListsBounded, sdk.RuleOneEnd, sdk.RuleStreamEnds, sdk.RuleEventsBounded,
		sdk.RuleFactsNames, sdk.RuleFactsOSRelease, sdk.RuleFactsSSH, sdk.RuleFactsNetwork, sdk.RuleFactsUnits, sdk.RuleTreeInit,
	} {
		if !seen[id] {
			t.Errorf("the host holds plugins to %s, which is none of the rules", id)
		}
	}
	for _, m := range misbehave.Modes() {
		for _, id := range m.Breaks {
			if !seen[id] {
				t.Errorf("%s breaks %s, which is none of the rules", m.Name, id)
			}
		}
	}
	if _, err := conformance.Run(t.Context(), conformance.Config{Only: []string{"no-such-rule"}}); err == nil {
		t.Error("a rule that there is not was run")
	}
}

func TestThePageIsWhatTheRulesSay(t *testing.T) {
	const file = "../../../docs/conformance.md"
	if os.Getenv("SDKTEST_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(conformance.Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(page), conformance.Page()); diff != "" {
		t.Errorf("%s differs (-page +rules), SDKTEST_UPDATE=1 writes it anew:\n%s", file, diff)
	}
	for _, r := range conformance.Rules() {
		if !strings.Contains(string(page), "### "+r.ID) {
			t.Errorf("%s is in no group that the page has", r.ID)
		}
	}
}
