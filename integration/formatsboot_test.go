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

// signing is whose key signs the images here.
const signing = "images@images.test"

// signedImages are images that were made and signed by the command, and the public
// key that they are signed by.
func signedImages(t *testing.T, formats ...image.Format) (made map[image.Format]image.Artifact, key string) {
	t.Helper()
	h := testhost.StartDirect(t, testhost.Options{Packages: []string{"gpg", "gpg-agent"}})
	h.InstallProduct(t)
	h.InstallFixture(t)
	h.MustRun(t, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", signing, "ed25519", "sign")
	h.MustRun(t, "gpg", "--batch", "--quiet", "--output", "/root/public.gpg", "--export", signing)
	return inFormats(t, h, formats, "--sign", signing), h.Path("/root/public.gpg")
}

// pulling is a host to which the directory of an image is served.
func pulling(t *testing.T, suite string, a image.Artifact, key string) *testhost.Host {
	t.Helper()
	h := testhost.Start(t, testhost.Options{
		Suite: suite, Packages: []string{"gpg"},
		Sites: map[string]http.Handler{"images.test": http.FileServer(http.Dir(filepath.Dir(a.Path)))},
	})
	h.CopyIn(t, key, "/etc/systemd/import-pubring.gpg")
	h.CopyIn(t, key, "/etc/systemd/import-pubring.pgp") // as newer versions call it
	return h
}

// What machinectl imports, pulls and boots, and what other tools read, is what
// the formats are for. What takes a loop device is in the VM tier.
func TestEachFormatIsImportedOrPulledAndBoots(t *testing.T) {
	t.Parallel()
	testhost.Require(t, "skopeo", "umoci")
	made, key := signedImages(t, image.Directory, image.Tar, image.TarZstd, image.TarXZ, image.TarGzip, image.OCI)
	h := pulling(t, "", made[image.Tar], key)

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
		layout := filepath.Join(t.TempDir(), "layout")
		output(t, "cp", "--archive", made[image.OCI].Path, layout) // to a path that other tools can resolve
		if digest := output(t, "skopeo", "inspect", "--format", "{{.Digest}}", "oci:"+layout+":"+image.Tag); digest != "sha256:"+made[image.OCI].SHA256 {
			t.Errorf("skopeo says %s, we %s", digest, made[image.OCI].SHA256)
		}
		bundle := filepath.Join(t.TempDir(), "bundle")
		output(t, "umoci", "unpack", "--image", layout+":"+image.Tag, bundle)
		copyTree(t, h, filepath.Join(bundle, "rootfs"), "oci")
		bootsImage(t, h, "oci")
	})
}

// Where systemd looks for sums and signatures is not the same in every version: what
// the command wrote is right for each, as it lies there.
func TestEverySystemdPullsWhatTheCommandWroteAndVerifiesIt(t *testing.T) {
	t.Parallel()
	made, key := signedImages(t, image.TarGzip, image.Tar, image.TarZstd)
	dir := filepath.Dir(made[image.Tar].Path)
	for suite, zstd := range map[string]bool{"bookworm": false, "trixie": false, "forky": true} {
		t.Run(suite, func(t *testing.T) {
			h := pulling(t, suite, made[image.Tar], key)
			pull := func(verify, from, to string) testhost.Result {
				return h.Run(t, "machinectl", "--quiet", "pull-tar", "--verify="+verify, "http://images.test/"+from, to)
			}
			for _, verify := range []string{"checksum", "signature"} {
				if r := pull(verify, "system.tar.gz", verify); r.Exit != 0 || !h.Exists(t, "/var/lib/machines/"+verify+"/usr/lib/os-release") {
					t.Errorf("it is not pulled by its %s: %s", verify, r)
				}
				h.MustRun(t, "machinectl", "clean") // the server has no ETags, by which it would know it again
			}
			// What the docs say of zstd.
			h.CopyIn(t, made[image.TarZstd].Path, "/var/tmp/system.tar.zst")
			if r := h.Run(t, "machinectl", "--quiet", "import-tar", "/var/tmp/system.tar.zst", "zstd"); (r.Exit == 0) != zstd {
				t.Errorf("whether it reads zstd should be %t: %s", zstd, r)
			}
			h.MustRun(t, "rm", "-f", "/etc/systemd/import-pubring.gpg", "/etc/systemd/import-pubring.pgp")
			if r := pull("signature", "system.tar", "strange"); r.Exit == 0 {
				t.Errorf("it was taken without the key: %s", r)
			}
		})
	}
	t.Run("what was changed on the way is refused", func(t *testing.T) {
		h := pulling(t, "", made[image.Tar], key)
		if err := os.WriteFile(filepath.Join(dir, "system.tar"), []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, verify := range []string{"checksum", "signature"} {
			if r := h.Run(t, "machinectl", "--quiet", "pull-tar", "--verify="+verify, "http://images.test/system.tar", "changed"); r.Exit == 0 {
				t.Errorf("it was taken by its %s: %s", verify, r)
			}
		}
	})
}

func TestAKeyThatIsNotThereIsSaidBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	h := testhost.StartDirect(t, testhost.Options{Packages: []string{"gpg", "gpg-agent"}})
	h.InstallProduct(t)
	h.InstallFixture(t)
	for _, key := range []string{signing, "--yes"} {
		r := want(t, exitUsage, h.Run(t, "nspawn-build", "image", "--distro", "fixture", "--format", "tar", "--sign="+key, "-o", "/srv/none/", "system"))
		if !strings.Contains(r.Stderr, "image.sign: ") || !strings.Contains(r.Stderr, "hint: ") || h.Exists(t, "/srv/none") {
			t.Errorf("it is not said, or something was made: %s", r)
		}
	}
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
