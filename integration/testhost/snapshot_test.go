package testhost

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiffNamesWhatCameWentAndChanged(t *testing.T) {
	before := Snapshot{"file /etc/a": "old", "link x": "veth", "file /etc/same": "s"}
	after := Snapshot{"file /etc/a": "new", "mount /m": "[ext4]", "file /etc/same": "s"}
	want := "~ file /etc/a: old\n  became new\n- link x: veth\n+ mount /m: [ext4]\n"
	if diff := cmp.Diff(want, Diff(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Diff(after, after); got != "" {
		t.Errorf("a snapshot differs from itself:\n%s", got)
	}
}

func TestDescribeTellsFilesApart(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("text"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", link); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	note := func(what string) {
		for _, path := range []string{file, link} {
			d, err := describe(path, false)
			if err != nil {
				t.Fatal(err)
			}
			if other, twice := seen[d]; twice && path == file {
				t.Errorf("%s reads as %s does: %s", what, other, d)
			}
			seen[d] = what
		}
	}
	note("the file")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	note("the file with another mode")
	if err := os.WriteFile(file, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	note("the file with other content")
	if err := os.WriteFile(file, append(make([]byte, 4999), 'x'), 0o600); err != nil {
		t.Fatal(err)
	}
	note("the file with the last byte changed")
}

func TestIgnoredCoversWholePathsOnly(t *testing.T) {
	list := []ignored{{"/run/lock", "a test"}}
	for path, want := range map[string]bool{"/run/lock": true, "/run/lock/x": true, "/run/locks": false, "/run": false} {
		if covers(list, path) != want {
			t.Errorf("%s: got %v", path, !want)
		}
	}
}

func TestTablesOfARuleset(t *testing.T) {
	got := tables("table ip a {\n\tset s {\n\t}\n}\ntable ip6 b {\n}\n")
	want := map[string]string{"ip a": "table ip a {\n\tset s {\n\t}\n}\n", "ip6 b": "table ip6 b {\n}\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
