package hostfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
)

const mark = "# ours\n"

func ours(content []byte) bool { return bytes.HasPrefix(content, []byte(mark)) }

func open(t *testing.T) (*hostfile.Files, string) {
	t.Helper()
	dir := t.TempDir()
	return &hostfile.Files{Made: filepath.Join(dir, "state", "made.json")}, filepath.Join(dir, "etc")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestWhatIsRemovedLeavesNoDirectoryThatWasMadeForIt(t *testing.T) {
	f, etc := open(t)
	if err := os.MkdirAll(filepath.Join(etc, "theirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(etc, "theirs", "made", "deep", "a"), filepath.Join(etc, "theirs", "made", "b")
	for _, p := range []string{a, b} {
		if err := f.Write(p, []byte(mark+p), 0o644, ours); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Remove(a, ours); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Dir(a)) || !exists(b) {
		t.Error("removing one file must take its own directory and leave the other file")
	}
	if err := f.Remove(b, ours); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Dir(b)) {
		t.Error("the directory that was made is still there")
	}
	if !exists(filepath.Join(etc, "theirs")) {
		t.Error("a directory that was there before is gone")
	}
	if exists(f.Made) {
		t.Error("the list of directories is still there though nothing is on it")
	}
}

func TestADirectoryThatSomebodyUsesStays(t *testing.T) {
	f, etc := open(t)
	p := filepath.Join(etc, "d", "file")
	if err := f.Write(p, []byte(mark), 0o644, ours); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(etc, "d", "theirs")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(p, ours); err != nil {
		t.Fatal(err)
	}
	if !exists(theirs) {
		t.Error("a file that is not ours is gone")
	}
}

func TestForeignFilesAreNeitherOverwrittenNorRemoved(t *testing.T) {
	tests := map[string]func(path, outside string) error{
		"a file without our mark": func(p, _ string) error { return os.WriteFile(p, []byte("theirs"), 0o600) },
		"an empty file":           func(p, _ string) error { return os.WriteFile(p, nil, 0o600) },
		"a link to a file of ours elsewhere": func(p, outside string) error {
			return errors.Join(os.WriteFile(outside, []byte(mark+"x"), 0o600), os.Symlink(outside, p))
		},
		"a dangling link": func(p, outside string) error { return os.Symlink(outside, p) },
		"a directory":     func(p, _ string) error { return os.Mkdir(p, 0o700) },
	}
	for name, put := range tests {
		t.Run(name, func(t *testing.T) {
			f, etc := open(t)
			if err := os.Mkdir(etc, 0o755); err != nil {
				t.Fatal(err)
			}
			p, outside := filepath.Join(etc, "file"), filepath.Join(t.TempDir(), "outside")
			if err := put(p, outside); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(p)
			if err := f.Write(p, []byte(mark+"new"), 0o644, ours); !errors.Is(err, hostfile.ErrForeign) {
				t.Errorf("Write: %v, want ErrForeign", err)
			}
			if err := f.Remove(p, ours); !errors.Is(err, hostfile.ErrForeign) {
				t.Errorf("Remove: %v, want ErrForeign", err)
			}
			if _, err := f.Same(p, []byte(mark), ours); !errors.Is(err, hostfile.ErrForeign) {
				t.Errorf("Same: %v, want ErrForeign", err)
			}
			after, err := os.Lstat(p)
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
				t.Errorf("what was there was changed: %v", err)
			}
		})
	}
}

func TestLinksAreOursOnlyWhenTheyPointWhereOursWould(t *testing.T) {
	f, etc := open(t)
	p := filepath.Join(etc, "machines", "box")
	if err := errors.Join(f.Link("/srv/box", p), f.Link("/srv/box", p)); err != nil {
		t.Fatal(err)
	}
	if err := f.Link("/srv/other", p); !errors.Is(err, hostfile.ErrForeign) {
		t.Errorf("Link over another link: %v, want ErrForeign", err)
	}
	if err := f.Unlink("/srv/other", p); err != nil || !exists(p) {
		t.Errorf("Unlink of another's link: %v; it must be left alone", err)
	}
	if err := f.Unlink("/srv/box", p); err != nil || exists(p) || exists(filepath.Dir(p)) {
		t.Errorf("Unlink: %v; link and directory must be gone", err)
	}
}

func TestSameTellsWhetherWritingWouldChangeAnything(t *testing.T) {
	f, etc := open(t)
	p := filepath.Join(etc, "file")
	for _, step := range []struct {
		content string
		want    bool
	}{{"a", false}, {"a", true}, {"b", false}} {
		same, err := f.Same(p, []byte(mark+step.content), ours)
		if err != nil || same != step.want {
			t.Errorf("Same(%q) = %v, %v, want %v", step.content, same, err, step.want)
		}
		if err := f.Write(p, []byte(mark+step.content), 0o640, ours); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(p)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
}

func TestACrashBetweenRecordAndMkdirDoesNoHarm(t *testing.T) {
	f, etc := open(t)
	dir := filepath.Join(etc, "never", "made")
	if err := f.MakeDirectory(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(etc, "never")); err != nil {
		t.Fatal(err)
	}
	if err := f.Prune(dir); err != nil {
		t.Errorf("Prune of directories that are not there: %v", err)
	}
	if _, err := os.Stat(f.Made); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the list still names them: %v", err)
	}
}

func TestWhatOthersMadeAtOurWishIsRemembered(t *testing.T) {
	f, etc := open(t)
	noted := func(path string, want bool) {
		t.Helper()
		if got, err := f.Noted(path); err != nil || got != want {
			t.Errorf("Noted(%s) = %v, %v, want %v", path, got, err, want)
		}
	}
	unit, dir := filepath.Join(etc, "unit"), filepath.Join(etc, "machines")
	for range 2 {
		if err := f.Note(unit); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.MakeDirectory(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	noted(unit, true)
	noted(dir, true)
	// A directory that is its owner's from here on stays, though it is empty.
	if err := f.Unnote(dir, etc); err != nil {
		t.Fatal(err)
	}
	if err := f.Prune(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("it was removed: %v", err)
	}
	noted(unit, true)
	if err := f.Unnote(unit); err != nil {
		t.Fatal(err)
	}
	noted(unit, false)
	if _, err := os.Stat(f.Made); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty list is kept: %v", err)
	}
}
