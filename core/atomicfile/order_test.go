package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/atomicfile/step"
)

// TestNothingIsRenamedBeforeItIsOnDisk sees the steps in the order in which they
// are taken: the content is synced, then gets its name, then that is synced.
func TestNothingIsRenamedBeforeItIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	in := func(do func() error) string {
		t.Helper()
		var steps []string
		stop := step.Watch(func(s, at string) error {
			name := strings.TrimPrefix(strings.TrimPrefix(at, dir), "/")
			steps = append(steps, strings.TrimSpace(s+" "+name))
			return nil
		})
		defer stop()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		return strings.Join(steps, ", ")
	}
	const temp = ".file.nspawn-build-new"
	for _, tt := range []struct {
		what string
		do   func() error
		want string
	}{
		{
			"write", func() error { return Write(path, []byte("text"), 0o600) },
			"remove " + temp + ", create " + temp + ", write " + temp + ", sync " + temp + ", rename file, sync names",
		},
		{"remove", func() error { return Remove(path) }, "remove file, remove " + temp + ", sync names"},
		{"remove nothing", func() error { return Remove(path) }, "remove file, remove " + temp},
		{"mkdir", func() error { return Mkdir(filepath.Join(dir, "sub"), 0o700) }, "mkdir sub, sync names"},
		{"symlink", func() error { return Symlink("file", filepath.Join(dir, "link")) }, "symlink link, sync names"},
		{"append", func() error {
			f, err := os.Create(path)
			if err != nil {
				return err
			}
			defer f.Close()
			return Append(f, []byte("line\n"))
		}, "write file, sync file"},
	} {
		if diff := cmp.Diff(tt.want, in(tt.do)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}
