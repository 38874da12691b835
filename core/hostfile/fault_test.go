package hostfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile/step"
)

// TestWhateverWriteFailsTheFilesAreOursAndGo has each step fail, by itself and as
// if the power were cut there: what is there is whole, the same again goes on,
// and it all can be removed.
func TestWhateverWriteFailsTheFilesAreOursAndGo(t *testing.T) {
	const text = "made by us, and long enough to be cut"
	ours := func(c []byte) bool { return bytes.HasPrefix(c, []byte("made by us")) }
	for _, with := range []error{unix.ENOSPC, unix.EIO} {
		for _, cut := range []bool{false, true} {
			for n := 0; ; n++ {
				root := t.TempDir()
				file, link := filepath.Join(root, "etc/deep/file"), filepath.Join(root, "var/link")
				f := &Files{Made: filepath.Join(root, "state/made.json")}
				make := func() error {
					return errors.Join(f.Write(file, []byte(text), 0o644, ours), f.Link("/target", link))
				}
				remove := func() error {
					return errors.Join(f.Remove(file, ours), f.Unlink("/target", link))
				}
				at := fmt.Sprintf("step %d, cut %v, %v", n, cut, with)
				taken := 0
				watch := func() (stop func()) {
					taken = 0
					return step.Watch(func(string, string) error {
						taken++
						if taken-1 == n || cut && taken-1 > n {
							return with
						}
						return nil
					})
				}
				stop := watch()
				err := make()
				stop()
				if taken <= n {
					break
				}
				if !errors.Is(err, with) {
					t.Fatalf("%s: the error is %v", at, err)
				}
				if have, err := os.ReadFile(file); err == nil && string(have) != text {
					t.Fatalf("%s: half of it is there: %q", at, have)
				} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				if n%2 == 0 { // else what is half made is removed
					if err := make(); err != nil {
						t.Fatalf("%s: again: %v", at, err)
					}
				}
				stop = watch()
				err = remove()
				stop()
				if err != nil && !errors.Is(err, with) {
					t.Fatalf("%s: removing it: %v", at, err)
				}
				if err := errors.Join(remove(), f.Settle()); err != nil {
					t.Fatalf("%s: removing it again: %v", at, err)
				}
				for _, dir := range []string{"etc", "var"} {
					if _, err := os.Lstat(filepath.Join(root, dir)); !errors.Is(err, fs.ErrNotExist) {
						t.Fatalf("%s: %s is left: %v", at, dir, err)
					}
				}
				if _, err := os.Lstat(f.Made); !errors.Is(err, fs.ErrNotExist) {
					list, _ := os.ReadFile(f.Made)
					t.Fatalf("%s: the list is left: %s", at, list)
				}
			}
		}
	}
}
