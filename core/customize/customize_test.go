package customize_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// write makes files, given with their contents; one that ends with / is a
// directory, and content that begins with -> is a link.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch target, link := strings.CutPrefix(text, "-> "); {
		case err != nil:
		case link:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func TestACopyStaysInTheTreeWhateverLinksAreInIt(t *testing.T) {
	host, tree, source := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, host, map[string]string{"secret": "the host's"})
	write(t, source, map[string]string{"app/data": "new", "app/sub/file": "file", "app/link": "-> /etc/shadow"})
	write(t, tree, map[string]string{
		"opt": "-> " + host, "srv/app/data": "-> " + host + "/secret", "usr/lib/": "", "lib": "-> usr/lib",
	})
	for _, c := range []spec.Copy{
		{Source: source + "/app", Target: "/opt/app"}, // whose parent is a link that leads out
		{Source: source + "/app", Target: "/srv/app"}, // in which a file is such a link
		{Source: source + "/app", Target: "/lib/"},    // which is a link that stays in
		{Source: source + "/app", Target: "/lib/"},    // and again
	} {
		if err := customize.Copy(context.Background(), open(t, tree), c); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if data, err := os.ReadFile(host + "/secret"); err != nil || string(data) != "the host's" {
		t.Errorf("the host's file is %q: %v", data, err)
	}
	if entries, err := os.ReadDir(host); err != nil || len(entries) != 1 {
		t.Errorf("the host has %v: %v", entries, err)
	}
	for path, want := range map[string]string{"srv/app/data": "new", "usr/lib/app/sub/file": "file", host[1:] + "/app/data": "new"} {
		if data, err := os.ReadFile(filepath.Join(tree, path)); err != nil || string(data) != want {
			t.Errorf("%s is %q: %v", path, data, err)
		}
	}
	if target, err := os.Readlink(tree + "/usr/lib/app/link"); err != nil || target != "/etc/shadow" {
		t.Errorf("a link is copied as %q: %v", target, err)
	}
}

func TestACopyKeepsPermissionsAndDropsWhatGivesPower(t *testing.T) {
	tree, source := t.TempDir(), t.TempDir()
	write(t, source, map[string]string{"tool": "x"})
	if err := os.Chmod(source+"/tool", 0o751|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := customize.Copy(context.Background(), open(t, tree), spec.Copy{Source: source + "/tool", Target: "/usr/bin/tool"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(tree + "/usr/bin/tool"); err != nil || info.Mode() != 0o751 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAFileIsNotPutInPlaceOfADirectory(t *testing.T) {
	tree, source := t.TempDir(), t.TempDir()
	write(t, source, map[string]string{"file": "x", "dir/": ""})
	write(t, tree, map[string]string{"etc/": "", "motd": "y"})
	for _, c := range []spec.Copy{{Source: source + "/file", Target: "/etc"}, {Source: source + "/dir", Target: "/motd"}} {
		if err := customize.Copy(context.Background(), open(t, tree), c); err == nil {
			t.Errorf("%s was done", c)
		}
	}
}

func TestWhatIsTakenIsKnownByItsContentAndModeAlone(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		write(t, dir, map[string]string{"app/a": "1", "app/b/c": "2", "setup.sh": "echo\n"})
	}
	sources := func(dir string) []spec.Taken {
		t.Helper()
		all, err := customize.Sources(spec.Customize{Copies: []spec.Copy{{Source: dir + "/app", Target: "/x"}}, Scripts: []string{dir + "/setup.sh"}})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := sources(one)
	for i, other := range sources(two) {
		if other.SHA256 != before[i].SHA256 {
			t.Errorf("%s differs from %s", other, before[i])
		}
	}
	if err := os.Chmod(one+"/app/b/c", 0o600); err != nil {
		t.Fatal(err)
	}
	if d := spec.DiffTaken(before, sources(one)); len(d) != 1 || !strings.HasPrefix(d[0].Field, "customize.copies.") || d[0].Change() != spec.ChangeNew {
		t.Errorf("%v", d)
	}
}

func TestWhatCannotBeTakenIsSaidAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"empty.sh": "", "dir/": ""})
	if err := syscall.Mkfifo(dir+"/dir/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := customize.Sources(spec.Customize{
		Copies:  []spec.Copy{{Source: dir + "/none", Target: "/x"}, {Source: dir + "/dir", Target: "/x"}},
		Scripts: []string{dir + "/empty.sh", dir, dir + "/dir/pipe", "/dev/zero"},
	})
	var bad spec.Invalid
	if !errors.As(err, &bad) || len(bad) != 6 {
		t.Fatalf("%v", err)
	}
	for _, e := range bad {
		if e.Hint == "" {
			t.Errorf("%v has no hint", e)
		}
	}
}
