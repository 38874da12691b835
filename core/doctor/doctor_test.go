package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/store"
)

func TestWhatIsWrongWithTheHostDecidesFirst(t *testing.T) {
	host, boot, reach := fault("a", "", "", ""), broken(Boot, "b", "", "", ""), broken(Reach, "c", "", "", "")
	for _, c := range []struct {
		found []Finding
		want  Area
	}{
		{nil, ""},
		{[]Finding{ok("d", ""), note("e", "", "", ""), warning("f", "", "", "")}, ""},
		{[]Finding{reach}, Reach},
		{[]Finding{reach, boot}, Boot},
		{[]Finding{reach, boot, host}, Host},
	} {
		if got := (Report{c.found}).Worst(); got != c.want {
			t.Errorf("Worst(%v) = %q, want %q", c.found, got, c.want)
		}
	}
}

func TestRepairDoesWhatMayBeDoneAndSaysHowItWent(t *testing.T) {
	calls := 0
	count := func(context.Context) error { calls++; return nil }
	failing := func(context.Context) error { return errors.New("no\nway") }
	r := Report{[]Finding{
		ok("fine", "").fixable(count),
		fault("other", "", "", "systemctl start it"),
		warning("ours", "left", "", "").fixable(count),
		Finding{ID: "hard", Machine: "box", Severity: Error, What: "stuck"}.fixable(failing),
	}}
	if fix := r.Findings[3].Fix; fix != "nspawn-build doctor --fix box" {
		t.Errorf("the command is %q", fix)
	}
	got := (&Doctor{}).Repair(t.Context(), r)
	want := []Repair{{ID: "ours", What: "left"}, {ID: "hard", Machine: "box", What: "stuck", Error: "no way"}}
	if diff := cmp.Diff(want, got); diff != "" || calls != 1 {
		t.Errorf("%d calls, repairs (-want +got):\n%s", calls, diff)
	}
}

func TestOnlyLinesOfFilesOfSshdAreNamed(t *testing.T) {
	for text, want := range map[string][]string{
		"/etc/ssh/sshd_config: line 12: Bad configuration option: Bogus":       {"/etc/ssh/sshd_config", "12"},
		`/etc/ssh/sshd_config.d/10-x.conf line 3: unsupported option "maybe".`: {"/etc/ssh/sshd_config.d/10-x.conf", "3"},
		"/etc/ssh/sshd_config: terminating, 1 bad configuration options":       nil,
		"/etc/passwd: line 1: x":                 nil,
		"/etc/ssh/a b;rm: line 1: x":             nil,
		"/etc/ssh/sshd_config: line 1;reboot: x": nil,
	} {
		m := complaintForm.FindStringSubmatch(text)
		if (m == nil) != (want == nil) || m != nil && (m[1] != want[0] || m[2] != want[1]) {
			t.Errorf("%q: got %q", text, m)
		}
	}
}

func TestPluginsThatOthersCanChangeAreNamedWithTheCommand(t *testing.T) {
	dir := t.TempDir()
	plugin := filepath.Join(dir, "nspawn-build-plugin-x")
	if err := os.WriteFile(plugin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(plugin, 0o777); err != nil {
		t.Fatal(err)
	}
	commands := map[string]bool{}
	for _, f := range exposedPlugins([]string{dir, filepath.Join(dir, "nowhere")}) {
		commands[f.Fix] = true
	}
	if fix := "chmod go-w " + plugin; os.Geteuid() == 0 && !commands[fix] || os.Geteuid() != 0 && !commands["chown root:root "+plugin] {
		t.Errorf("%s is not among %v", fix, commands)
	}
}

func TestHiddenDirectoriesOfOursAreKnownByTheirNames(t *testing.T) {
	for name, want := range map[string]string{
		".nspawn-build-box-ABCDEFGHIJKLMNOPQRSTUVWXYZ":   "box",
		".nspawn-build-a-b.c-234567ABCDEFGHIJKLMNOPQRST": "a-b.c",
		".nspawn-build-removing-12-34":                   "",
		".nspawn-build-box-ABC":                          "",
		"nspawn-build-box-ABCDEFGHIJKLMNOPQRSTUVWXYZ":    "",
	} {
		got := ""
		if m := stagingForm.FindStringSubmatch(name); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s is of %q, want %q", name, got, want)
		}
	}
}

func TestAWordForAShellStaysOneWord(t *testing.T) {
	for in, want := range map[string]string{"/a/b.c": "/a/b.c", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'", "50%": "50%"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestLittleSpaceIsSaid(t *testing.T) {
	e := &exam{Doctor: &Doctor{}, machines: []store.Machine{
		{Name: "a", Tree: store.Tree{Path: "/x/a"}}, {Name: "b", Tree: store.Tree{Path: "/x/b"}}, {Name: "c", Tree: store.Tree{Path: "/y/c"}},
	}}
	if diff := cmp.Diff([]string{"/x", "/y"}, e.treeDirectories()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for blocks, want := range map[uint64]Severity{100 << 8: Error, 500 << 8: Warning, 5000 << 8: OK} {
		if f := space("id", "/x", statfs(blocks)); f.Severity != want {
			t.Errorf("%d blocks: %+v, want %s", blocks, f, want)
		}
	}
}
