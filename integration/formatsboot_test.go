//go:build integration

package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/archive/archivetest"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// What machinectl imports, pulls and boots, and what other tools read, is what
// the formats are for. What takes a loop device is in the VM tier.
func TestEachFormatIsImportedOrPulledAndBoots(t *testing.T) {
	t.Parallel()
	testhost.Require(t, "skopeo", "umoci", "gpg")
	dir, made := inFormats(t, image.Directory, image.Tar, image.TarZstd, image.TarXZ, image.TarGzip, image.OCI)
	key := sign(t, dir)
	h := testhost.Start(t, testhost.Options{
		Packages: []string{"gpg"},
		Sites:    map[string]http.Handler{"images.test": http.FileServer(http.Dir(dir))},
	})
	h.CopyIn(t, key, "/etc/systemd/import-pubring.gpg")
	h.CopyIn(t, key, "/etc/systemd/import-pubring.pgp") // as newer versions call it

	// What it pulls it keeps a read-only copy of, which only it removes.
	defer func() { h.MustRun(t, "machinectl", "clean") }()

	for _, f := range []image.Format{image.Tar, image.TarXZ, image.TarGzip} {
		t.Run("import-tar of "+string(f), func(t *testing.T) {
			h.CopyIn(t, made[f].Path, "/var/tmp/"+filepath.Base(made[f].Path))
			h.MustRun(t, "machinectl", "--quiet", "import-tar", "/var/tmp/"+filepath.Base(made[f].Path), "imported")
			bootsImage(t, h, "imported")
		})
	}
	t.Run("pull-tar with its checksum", func(t *testing.T) {
		h.MustRun(t, "machinectl", "--quiet", "pull-tar", "--verify=checksum", "http://images.test/system.tar.xz", "pulled")
		bootsImage(t, h, "pulled")
	})
	t.Run("pull-tar with its signature", func(t *testing.T) {
		h.MustRun(t, "machinectl", "--quiet", "pull-tar", "--verify=signature", "http://images.test/system.tar.gz", "signed")
		bootsImage(t, h, "signed")
	})
	t.Run("the directory and tar.zst", func(t *testing.T) {
		unpacked := filepath.Join(t.TempDir(), "zst")
		if err := image.Unpack(t.Context(), made[image.TarZstd].Path, image.TarZstd, unpacked); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(archivetest.Portrait(t, made[image.Directory].Path), archivetest.Portrait(t, unpacked)); diff != "" {
			t.Errorf("they are not of the same tree:\n%s", diff)
		}
		copyTree(t, h, made[image.Directory].Path, "plain")
		bootsImage(t, h, "plain")
	})
	t.Run("oci, unpacked by another tool", func(t *testing.T) {
		layout := made[image.OCI].Path
		if digest := output(t, "skopeo", "inspect", "--format", "{{.Digest}}", "oci:"+layout+":"+image.Tag); digest != "sha256:"+made[image.OCI].SHA256 {
			t.Errorf("skopeo says %s, we %s", digest, made[image.OCI].SHA256)
		}
		bundle := filepath.Join(t.TempDir(), "bundle")
		output(t, "umoci", "unpack", "--image", layout+":"+image.Tag, bundle)
		copyTree(t, h, filepath.Join(bundle, "rootfs"), "oci")
		bootsImage(t, h, "oci")
	})
	t.Run("what was changed on the way is refused", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "system.tar"), []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := h.Run(t, "machinectl", "--quiet", "pull-tar", "--verify=checksum", "http://images.test/system.tar", "changed"); r.Exit == 0 {
			t.Errorf("it was taken: %s", r)
		}
	})
}

// bootsImage boots a machine that machined has, waits until it runs with no
// unit failed, and removes it.
func bootsImage(t *testing.T, h *testhost.Host, name string) {
	t.Helper()
	h.MustRun(t, "machinectl", "start", name)
	// Asked again and again: through --machine, --wait does not hear of the end.
	h.Eventually(t, 2*time.Minute, "systemctl", "--machine", name, "is-system-running")
	h.MustRun(t, "machinectl", "terminate", name)
	h.Eventually(t, time.Minute, "sh", "-c", "! machinectl show "+name+" && machinectl remove "+name)
}

// copyTree makes a tree of this machine a machine of a host.
func copyTree(t *testing.T, h *testhost.Host, tree, name string) {
	t.Helper()
	output(t, "cp", "--archive", tree, h.Path("/var/lib/machines/"+name))
}

func output(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	var failed strings.Builder
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, failed.String())
	}
	return strings.TrimSpace(string(out))
}

// sign signs the checksums in dir with a new key, and returns the public one.
func sign(t *testing.T, dir string) string {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // gpg's sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		output(t, "gpgconf", "--homedir", home, "--kill", "all")
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	}()
	const who = "images@images.test"
	output(t, "gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", who, "ed25519", "sign")
	public := filepath.Join(t.TempDir(), "public.gpg")
	output(t, "gpg", "--homedir", home, "--batch", "--quiet", "--output", public, "--export", who)
	if _, err := image.Sign(t.Context(), filepath.Join(dir, image.SumsName), image.Signer{Key: who, Home: home}); err != nil {
		t.Fatal(err)
	}
	return public
}
