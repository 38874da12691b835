package target_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

func open(t *testing.T) (target.Tree, string) {
	t.Helper()
	directory := t.TempDir()
	tree, err := target.Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree, directory
}

func TestWritingReplacesALinkAndDoesNotFollowIt(t *testing.T) {
	tree, directory := open(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"file": secret, "out": filepath.Dir(secret), "up": "../../.."} {
		if err := os.Symlink(to, filepath.Join(directory, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Write("file", []byte("mine")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"out/secret", "up/secret", "../secret"} {
		if err := tree.Write(name, []byte("mine")); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if err := tree.Clear("out"); err == nil {
		t.Error("a directory outside was cleared")
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "of the host" {
		t.Errorf("the file of the host holds %q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(directory, "file")); err != nil || string(text) != "mine" {
		t.Errorf("the file of the tree holds %q, %v", text, err)
	}
}

func TestWhatIsThereIsDeletedAndCleared(t *testing.T) {
	tree, directory := open(t)
	for _, name := range []string{"log/a.log", "log/b.log", "log/keep", "cache/deep/x", "one"} {
		if err := tree.Write(name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range []string{"log/*.log", "one", "none", "none/*"} {
		if err := tree.DeleteMatching(pattern); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"cache", "none"} {
		if err := tree.Clear(name); err != nil {
			t.Error(err)
		}
	}
	var left []string
	err := filepath.WalkDir(directory, func(path string, _ os.DirEntry, err error) error {
		left = append(left, strings.TrimPrefix(path, directory))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "/cache", "/log", "/log/keep"}, left); diff != "" {
		t.Errorf("what is left differs (-want +got):\n%s", diff)
	}
}

func TestUnitsAreFoundWherePackagesPutThem(t *testing.T) {
	tree, _ := open(t)
	for _, name := range []string{"usr/lib/systemd/system/sshd.service", "lib/systemd/system/old.service", "etc/systemd/system/own.service"} {
		if err := tree.Write(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := tree.Units("own.service", "old.service", "none.service", "sshd.service")
	if diff := cmp.Diff([]string{"old.service", "sshd.service"}, got); diff != "" {
		t.Errorf("units differ (-want +got):\n%s", diff)
	}
}
