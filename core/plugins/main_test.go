package plugins

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// The test binary is a plugin when it is called as one. What it says of itself
// is at its end, so that there are several with different digests.
var marker = "\n" + strings.Repeat("=", 3) + " says: "

func TestMain(m *testing.M) {
	if status, did := pluginhost.Init(os.Args); did {
		os.Exit(status)
	}
	if name, ok := pluginhost.NameOf(filepath.Base(os.Args[0])); ok {
		serve(name)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// escaped is a file that a plugin makes which can.
const escaped = "/etc/nspawn-build-test-escaped"

// says is what a plugin says of itself.
type says struct {
	Name, Version string
	Distros       []string
	Releases      []string
	Options       []string
	Features      []string
}

func serve(name string) {
	content, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	var s says
	if err := json.Unmarshal(content[bytes.LastIndex(content, []byte(marker))+len(marker):], &s); err != nil {
		panic(err)
	}
	if s.Name == "" {
		s.Name = name
	}
	// It must be enclosed, but where make install asks what it has itself put
	// there: what it could write to would be the host's.
	if byMake := len(os.Args) > 1; !byMake && os.WriteFile(escaped, nil, 0o600) == nil {
		panic("the host's files can be written to")
	}
	sdk.Serve(s)
}

func (s says) Describe(context.Context) (sdk.Description, error) {
	d := sdk.Description{Name: s.Name, Version: s.Version, Features: s.Features}
	for _, name := range s.Distros {
		d.Distros = append(d.Distros, sdk.Distro{Name: name, Title: name, Releases: s.Releases, DefaultRelease: s.Releases[0], Architectures: []string{"x86_64", "aarch64"}})
	}
	for _, name := range s.Options {
		d.Options = append(d.Options, sdk.Option{Name: name, Help: "an option"})
	}
	return d, nil
}

func (says) Validate(_ context.Context, r sdk.Request) (sdk.Validation, error) {
	return sdk.Validation{Resolved: r}, nil
}
func (says) Plan(context.Context, sdk.Request) (sdk.Plan, error) { return sdk.Plan{}, nil }
func (says) Bootstrap(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
	return sdk.Facts{}, errors.New("it makes nothing")
}

var self = sync.OnceValues(func() ([]byte, error) { return os.ReadFile("/proc/self/exe") })

// program is a plugin that says so of itself.
func program(t *testing.T, s says) []byte {
	t.Helper()
	content, err := self()
	must(t, err)
	if s.Version == "" {
		s.Version = "1.0.0"
	}
	if s.Releases == nil {
		s.Releases = []string{"1"}
	}
	said, err := json.Marshal(s)
	must(t, err)
	return append(append(bytes.Clone(content), marker...), said...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func digestOf(content []byte) string {
	d := sha256.Sum256(content)
	return hex.EncodeToString(d[:])
}

// file puts a program where somebody downloads to.
func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), pluginhost.FileOf(name))
	must(t, os.WriteFile(path, content, 0o644))
	return path
}

// needRoot skips a test that runs plugins.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	const why = "namespaces and trusted files need root"
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// newStore returns a store whose directory does not exist yet, and checks in
// the end that nothing half made is left in it.
func newStore(t *testing.T) *Store {
	t.Helper()
	needRoot(t)
	runtimeDir, err := os.MkdirTemp("", "nb")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(runtimeDir)) })
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	dir := filepath.Join(root, "lib", "plugins")
	s := &Store{
		Dir: dir, Registry: registry.Options{Patience: 20 * time.Second},
		Host: &pluginhost.Host{
			Directories: []string{filepath.Join(root, "before"), dir, filepath.Join(root, "after")},
			RuntimeDir:  runtimeDir, StartTimeout: 30 * time.Second,
		},
	}
	t.Cleanup(func() {
		left, _ := filepath.Glob(filepath.Join(dir, ".*nspawn-build-new"))
		if len(left) > 0 {
			t.Errorf("this is left: %q", left)
		}
	})
	return s
}

// install installs what must be fine.
func (s *Store) install(t *testing.T, w Wanted) Installed {
	t.Helper()
	done, err := s.Install(t.Context(), w)
	must(t, err)
	return done
}

// snapshot is everything in and about a directory.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := ""
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = digestOf(content)
		}
		fmt.Fprintln(&out, path, info.Mode(), sum)
		return nil
	}))
	return out.String()
}

// expect compares an error with the words that it must have and its kind.
func expect(t *testing.T, err error, kind Kind, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Fatalf("got %v, want %q", err, words)
	}
	var e *Error
	switch {
	case kind == 0:
	case !errors.As(err, &e):
		t.Errorf("%v is a %T", err, err)
	case e.Kind != kind:
		t.Errorf("%v is of kind %d, want %d", err, e.Kind, kind)
	case e.Hint() == "":
		t.Errorf("%v has no hint", err)
	}
}
