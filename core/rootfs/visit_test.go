package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// visited is a line for each entry, in the order of the visit.
func visited(t *testing.T, tree *Tree, leave ...string) []string {
	t.Helper()
	var lines []string
	must(t, tree.Visit(t.Context(), leave, func(e Entry) error {
		line := fmt.Sprintf("%s %d:%d", e.Name, e.UID, e.GID)
		if e.First != "" {
			line += " is " + e.First
		}
		if e.Content != nil {
			content, err := io.ReadAll(e.Content)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", content)
		}
		lines = append(lines, line)
		return nil
	}))
	return lines
}

func TestATreeThatWasGivenToARangeOfUsersIsShownAsItWas(t *testing.T) {
	w := newWorld(t).guard(t)
	must(t, os.WriteFile(filepath.Join(w.path, "etc/hosts"), []byte("x"), 0o644))
	must(t, os.Link(filepath.Join(w.path, "etc/hosts"), filepath.Join(w.path, "etc/again")))
	must(t, os.Symlink(w.outside, filepath.Join(w.path, "root/out")))
	plain := visited(t, w.tree, "/usr")
	want := []string{
		". 0:0", "etc 0:0", `etc/again 0:0 "x"`, "etc/hosts 0:0 is etc/again", "root 0:0", "root/out 0:0", "run 0:0", "usr 0:0",
	}
	if diff := cmp.Diff(want, plain); diff != "" {
		t.Error(diff)
	}
	must(t, filepath.WalkDir(w.path, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, 7*userRange, 7*userRange))
	}))
	if diff := cmp.Diff(plain, visited(t, w.tree, "/usr")); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatShrinksWhileItIsReadIsTold(t *testing.T) {
	w := newWorld(t)
	name := filepath.Join(w.path, "etc/log")
	must(t, os.WriteFile(name, []byte(strings.Repeat("x", 1000)), 0o644))
	err := w.tree.Visit(t.Context(), nil, func(e Entry) error {
		if e.Name != "etc/log" {
			return nil
		}
		must(t, os.Truncate(name, 10))
		_, err := io.Copy(io.Discard, e.Content)
		return err
	})
	if !errors.Is(err, ErrChanged) {
		t.Errorf("it says %v", err)
	}
}

func TestOnlyAnEmptyDirectoryIsFilled(t *testing.T) {
	w := newWorld(t)
	if _, err := Fill(t.Context(), w.path); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("it says %v", err)
	}
	link := filepath.Join(filepath.Dir(w.path), "link")
	must(t, os.Mkdir(w.outside+"/empty", 0o755))
	must(t, os.Symlink(w.outside+"/empty", link))
	if _, err := Fill(t.Context(), link); !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		t.Errorf("through a link it says %v", err)
	}
}

func TestWhatCannotBeWrittenIsTold(t *testing.T) {
	root := t.TempDir()
	f, err := Fill(t.Context(), root)
	must(t, err)
	defer f.Close()
	// A writer's failure, and not the reader's: no file system takes this.
	err = f.File("odd", Attributes{Mode: 0o600, Xattrs: map[string]string{"user." + strings.Repeat("n", 300): "x"}}, 3, strings.NewReader("abc"))
	if err == nil {
		err = f.Finish()
	}
	if err == nil || !strings.Contains(err.Error(), `"odd": attribute user.n`) {
		t.Errorf("it says %v", err)
	}
	if err := f.File("next", Attributes{}, 0, strings.NewReader("")); err == nil {
		t.Error("it goes on after that")
	}
}
