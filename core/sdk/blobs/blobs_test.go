package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func open(t *testing.T) Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatIsKeptComesBack(t *testing.T) {
	s, dir := open(t), t.TempDir()
	got, err := s.Put(write(t, dir, "a", "hello"), "")
	if err != nil || got != digestOf("hello") {
		t.Fatalf("kept as %q, %v", got, err)
	}
	if again, err := s.Put(filepath.Join(dir, "a"), got); err != nil || again != got {
		t.Errorf("kept again as %q, %v", again, err)
	}
	to := filepath.Join(dir, "b")
	if ok, err := s.Take(got, to); !ok || err != nil {
		t.Fatalf("taken: %v, %v", ok, err)
	}
	if text, err := os.ReadFile(to); string(text) != "hello" || err != nil {
		t.Errorf("came back as %q, %v", text, err)
	}
	if ok, err := s.Take(got, to); ok || err == nil {
		t.Errorf("taken over a file that is there: %v, %v", ok, err)
	}
	if ok, err := s.Take(digestOf("other"), filepath.Join(dir, "c")); ok || err != nil {
		t.Errorf("what was never kept is taken: %v, %v", ok, err)
	}
}

func TestADamagedBlobIsNeverHandedOut(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"altered":   func(path string) error { return os.WriteFile(path, []byte("hellO"), 0o600) },
		"truncated": func(path string) error { return os.Truncate(path, 2) },
		"emptied":   func(path string) error { return os.Truncate(path, 0) },
		"longer":    func(path string) error { return os.WriteFile(path, []byte("hello and more"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := open(t), t.TempDir()
			digest, err := s.Put(write(t, dir, "a", "hello"), "")
			if err != nil {
				t.Fatal(err)
			}
			kept := filepath.Join(s.dir, "sha256", digest)
			if err := damage(kept); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, "b")
			if ok, err := s.Take(digest, to); ok || err != nil {
				t.Errorf("taken: %v, %v", ok, err)
			}
			for _, path := range []string{to, kept} {
				if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is still there: %v", path, err)
				}
			}
			if _, err := s.Put(filepath.Join(dir, "a"), digest); err != nil {
				t.Errorf("it cannot be kept anew: %v", err)
			}
		})
	}
}

func TestAFileThatIsNotWhatItWasSaidToBeIsNotKept(t *testing.T) {
	s, dir := open(t), t.TempDir()
	if _, err := s.Put(write(t, dir, "a", "hello"), digestOf("other")); !errors.Is(err, ErrDigest) {
		t.Errorf("the error is %v", err)
	}
	if s.Has(digestOf("hello")) || s.Has(digestOf("other")) {
		t.Error("it is kept")
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the store is left with %v, %v", entries, err)
	}
}

func TestOnlyRegularFilesAreKeptOrTaken(t *testing.T) {
	s, dir := open(t), t.TempDir()
	write(t, dir, "secret", "of the host")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("secret", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, dir, "/dev/zero", filepath.Join(dir, "none")} {
		if _, err := s.Put(path, ""); err == nil {
			t.Errorf("%s was kept", path)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(s.dir, "sha256", digestOf("x"))); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Take(digestOf("x"), filepath.Join(dir, "out")); ok || err == nil {
		t.Errorf("a link in the store was followed: %v, %v", ok, err)
	}
}

func TestADigestIsNoPath(t *testing.T) {
	s, dir := open(t), t.TempDir()
	for _, digest := range []string{"../../etc/passwd", "", "abc", digestOf("x") + "/..", "ABCDEF"} {
		if _, err := s.Take(digest, filepath.Join(dir, "out")); err == nil {
			t.Errorf("%q was taken for a digest", digest)
		}
		if s.Has(digest) {
			t.Errorf("%q is there", digest)
		}
	}
}

func TestJobsShareAStore(t *testing.T) {
	s, dir := open(t), t.TempDir()
	var jobs sync.WaitGroup
	for job := range 20 {
		jobs.Go(func() {
			for i := range 20 {
				text := fmt.Sprintf("package %d", i)
				from := filepath.Join(dir, fmt.Sprintf("in-%d-%d", job, i))
				if err := os.WriteFile(from, []byte(text), 0o644); err != nil {
					t.Error(err)
				}
				if _, err := s.Put(from, digestOf(text)); err != nil {
					t.Error(err)
				}
				ok, err := s.Take(digestOf(text), filepath.Join(dir, fmt.Sprintf("out-%d-%d", job, i)))
				if !ok || err != nil {
					t.Errorf("job %d: %q taken: %v, %v", job, text, ok, err)
				}
			}
		})
	}
	jobs.Wait()
}

func TestASetComesBackAsItWas(t *testing.T) {
	s, from, to := open(t), t.TempDir(), t.TempDir()
	when := time.Date(2026, 11, 21, 9, 16, 20, 0, time.UTC)
	for _, name := range []string{"m.example.org_dists_trixie_InRelease", "lock", ".hidden"} {
		path := write(t, from, name, "text of "+name)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(from, "partial"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep("index-1", from, func(name string) bool { return name != "lock" && !strings.Contains(name, "/") }); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore("index-1", to); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(to)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v came back, %v", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || !info.ModTime().Equal(when) {
		t.Errorf("it is of %v, %v; want %v", info.ModTime(), err, when)
	}
	opened, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close() //nolint:errcheck // only read from
	held, byDescriptor := fmt.Sprintf("/proc/self/fd/%d", opened.Fd()), t.TempDir()
	if err := s.Keep("index-4", held, func(name string) bool { return name == "lock" }); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore("index-4", byDescriptor); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(byDescriptor, "lock")); err != nil {
		t.Errorf("a directory that is named by a descriptor is not kept: %v", err)
	}
	if err := s.Keep("index-3", from, func(name string) bool { return strings.HasSuffix(name, "_Packages") }); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore("index-3", to); err != nil {
		t.Errorf("a set without files: %v", err)
	}
	if err := s.Restore("index-2", to); err != nil {
		t.Errorf("a set that is not there: %v", err)
	}
}

func TestADamagedSetIsAsGoodAsNone(t *testing.T) {
	for name, text := range map[string]string{
		"cut off": `[{"name":"a","sha256":"`,
		"empty":   "",
		"paths":   `[{"name":"../../a","sha256":"` + digestOf("hello") + `"},{"name":"a/../../b","sha256":"` + digestOf("hello") + `"}]`,
		"gone":    `[{"name":"a","sha256":"` + digestOf("gone") + `"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := open(t), t.TempDir()
			if _, err := s.Put(write(t, t.TempDir(), "x", "hello"), ""); err != nil {
				t.Fatal(err)
			}
			write(t, s.dir, "k.json", text)
			if err := s.Restore("k", dir); err != nil {
				t.Error(err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(0, len(entries)); diff != "" {
				t.Errorf("%v came back", entries)
			}
		})
	}
	if err := open(t).Restore("../k", t.TempDir()); err == nil {
		t.Error("a path was taken for the name of a set")
	}
}

func TestASetKeepsDirectoriesAndIsTrimmed(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	from := sdktest.Plant(t, map[string]string{"mirror/packages/a.rpm": "a", "mirror/packages/b.rpm": "b", "mirror/lock": "x"})
	if err := s.Keep("set", from, func(name string) bool { return strings.HasSuffix(name, ".rpm") }); err != nil {
		t.Fatal(err)
	}
	if err := s.Trim("set", func(name string) bool { return !strings.HasSuffix(name, "b.rpm") }); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := s.Restore("set", to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"mirror/packages/a.rpm": "a"}, sdktest.Planted(t, to)); diff != "" {
		t.Errorf("the set differs (-want +got):\n%s", diff)
	}
}

func TestWhatIsNotUsedForLongIsRemoved(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	tree := sdktest.Plant(t, map[string]string{"old": "old", "new": "new"})
	digests := map[string]string{}
	for _, name := range []string{"old", "new"} {
		if digests[name], err = s.Put(filepath.Join(tree, name), ""); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-maxAge - time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "sha256", digests["old"]), long, long); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir); err != nil || s.Has(digests["old"]) || !s.Has(digests["new"]) {
		t.Errorf("after 90 days the old is there: %t, the new: %t, %v", s.Has(digests["old"]), s.Has(digests["new"]), err)
	}
}
