package machines

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

func TestNamesAreKnownToThoseWhoMayNotReadTheRecords(t *testing.T) {
	dir := t.TempDir()
	records, settings := filepath.Join(dir, "state"), filepath.Join(dir, "nspawn")
	write := func(path string, content []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := unitfile.Nspawn{Machine: "box", SystemdVersion: 257}.Render()
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(settings, "box.nspawn"), ours)
	write(filepath.Join(settings, "foreign.nspawn"), []byte("[Exec]\n"))
	write(filepath.Join(settings, "renamed.nspawn"), ours)
	if diff := cmp.Diff([]string{"box"}, Names(records, settings)); diff != "" {
		t.Errorf("for anybody (-want +got):\n%s", diff)
	}
	write(filepath.Join(records, "machines", "box.json"), nil)
	write(filepath.Join(records, "machines", "half.json"), nil)
	write(filepath.Join(records, "machines", ".box.json123"), nil)
	if diff := cmp.Diff([]string{"box", "half"}, Names(records, settings)); diff != "" {
		t.Errorf("for root (-want +got):\n%s", diff)
	}
	if got := Names(filepath.Join(dir, "none"), filepath.Join(dir, "none")); len(got) > 0 {
		t.Errorf("on a host without machines: %v", got)
	}
}
