package sdk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func TestOnlyAnEmptyDirectoryIsATarget(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	empty, full, link := dir+"/empty", dir+"/full", dir+"/link"
	must(os.Mkdir(empty, 0o755))
	must(os.MkdirAll(full+"/etc", 0o755))
	must(os.WriteFile(dir+"/file", nil, 0o600))
	must(os.Symlink(empty, link))
	for path, want := range map[string]sdk.Code{
		empty:               sdk.CodeUnspecified,
		full:                sdk.CodeInvalidRequest,
		link:                sdk.CodeDisk,
		dir + "/file":       sdk.CodeDisk,
		dir + "/none":       sdk.CodeDisk,
		dir + "/../x/empty": sdk.CodeInvalidRequest,
		"relative":          sdk.CodeInvalidRequest,
		"":                  sdk.CodeInvalidRequest,
		"/":                 sdk.CodeInvalidRequest,
	} {
		var failure *sdk.Failure
		err := sdk.CheckTarget(path)
		if want == sdk.CodeUnspecified {
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if !errors.As(err, &failure) || failure.Code != want {
			t.Errorf("%s: %v, want code %d", path, err, want)
		}
	}
}

func TestOSReleaseIsReadAsFromInsideTheTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("ID=escaped\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const content = "ID=example\nNAME=\"Example \\\"OS\\\"\"\n# comment\nlower=no\nVERSION='1 2'\nBAD LINE\nESC=\"\x1b[31mred\"\n"
	want := map[string]string{"ID": "example", "NAME": `Example "OS"`, "VERSION": "1 2", "ESC": "red"}
	for name, c := range map[string]struct {
		make func(root string) error
		want map[string]string // nil means an error
	}{
		"in etc": {func(r string) error { return os.WriteFile(r+"/etc/os-release", []byte(content), 0o600) }, want},
		"relative link": {func(r string) error {
			return errors.Join(os.WriteFile(r+"/usr/lib/os-release", []byte(content), 0o600),
				os.Symlink("../usr/lib/os-release", r+"/etc/os-release"))
		}, want},
		"absolute link": {func(r string) error {
			return errors.Join(os.WriteFile(r+"/usr/lib/os-release", []byte(content), 0o600),
				os.Symlink("/usr/lib/os-release", r+"/etc/os-release"))
		}, want},
		"in usr only":   {func(r string) error { return os.WriteFile(r+"/usr/lib/os-release", []byte(content), 0o600) }, want},
		"none":          {func(string) error { return nil }, nil},
		"absolute out":  {func(r string) error { return os.Symlink(outside, r+"/etc/os-release") }, nil},
		"dots out":      {func(r string) error { return os.Symlink(strings.Repeat("../", 20)+outside, r+"/etc/os-release") }, nil},
		"magic link":    {func(r string) error { return os.Symlink("/proc/self/root"+outside, r+"/etc/os-release") }, nil},
		"FIFO":          {func(r string) error { return unix.Mkfifo(r+"/etc/os-release", 0o600) }, nil},
		"directory":     {func(r string) error { return os.Mkdir(r+"/etc/os-release", 0o700) }, nil},
		"10 GB, sparse": {func(r string) error { return sparse(r+"/etc/os-release", 10<<30) }, nil},
	} {
		root := t.TempDir()
		if err := errors.Join(os.Mkdir(root+"/etc", 0o755), os.MkdirAll(root+"/usr/lib", 0o755)); err != nil {
			t.Fatal(err)
		}
		if err := c.make(root); err != nil {
			t.Fatal(err)
		}
		got, err := sdk.ReadOSRelease(root)
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func sparse(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, size)
}
