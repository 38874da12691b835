//go:build integration || vm

package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// inFormats writes a real Debian machine in some formats, each as system.FORMAT
// in one directory, with their checksums.
func inFormats(t *testing.T, formats ...image.Format) (dir string, made map[image.Format]image.Artifact) {
	t.Helper()
	for _, f := range formats {
		for _, n := range image.Needs(f) {
			testhost.Require(t, n.Program)
		}
	}
	tarball, err := testhost.MachineTarball(t.Context(), "trixie")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "tree")
	if err := image.Unpack(t.Context(), tarball, image.TarZstd, root); err != nil {
		t.Fatal(err)
	}
	tree, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	if err := tree.WriteFile("etc/machine-id", []byte("uninitialized\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	dir, made = t.TempDir(), map[image.Format]image.Artifact{}
	var all []image.Artifact
	for _, f := range formats {
		a, err := image.Write(t.Context(), tree, f, filepath.Join(dir, "system."+string(f)), image.Options{
			Name: "system", Arch: "x86_64", Epoch: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d MB, sha256 %s", f, a.Size>>20, a.SHA256)
		made[f] = a
		all = append(all, a)
	}
	if _, err := image.WriteSums(dir, all); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, made
}
