//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// A lock pins every package, and the time that stands for all others: the images
// that are made of it are the same bytes, wherever and whenever they are made.
func TestImagesOfALockAreTheSameForEveryDistribution(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{}, arch, fedora)))
	// xz takes as long as all others together, and compresses what they do: the
	// same tar. One distribution is enough for it.
	const slow, once = image.TarXZ, "arch"
	for name, from := range map[string][]string{
		"debian": {"--distro", "debian", "--release", "trixie"},
		"arch":   append([]string{"--distro", "arch"}, arch.sources(t, h)...),
		"fedora": append([]string{"--distro", "fedora", "--release", fedora.release}, fedora.sources(t, h)...),
	} {
		t.Run(name, func(t *testing.T) {
			make := func(dir string, more ...string) built {
				line := slices.Concat([]string{"nspawn-build", "image", "--no-cache", "-o", dir, name}, from, more)
				return build(t, h, exitDone, line...)
			}
			locked := []string{"--locked", make("/srv/first/", "--format", "tar").Lock}
			for _, f := range image.Formats() {
				if f != slow || name == once {
					locked = append(locked, "--format", string(f))
				}
			}
			second, third := make("/srv/second/", locked...), make("/srv/a-third-directory/", locked...)
			if n := len(second.Artifacts); n < len(image.Formats())-1 || n != len(third.Artifacts) {
				t.Fatalf("%+v\n%+v", second, third)
			}
			for i, a := range second.Artifacts {
				if b := third.Artifacts[i]; a.SHA256 != b.SHA256 {
					t.Errorf("as %s they are %s and %s", a.Format, a.SHA256, b.SHA256)
				}
			}
			if second.Digest != third.Digest || second.Digest == "" {
				t.Errorf("the trees are %s and %s\n%s", second.Digest, third.Digest,
					h.Run(t, "nspawn-build", "diff", "/srv/second/"+name, "/srv/a-third-directory/"+name))
			}
			for what, paths := range map[string][2]string{
				"manifest": {second.Manifest, third.Manifest}, "SBOM": {second.SBOM, third.SBOM},
				"lock": {second.Lock, third.Lock}, "checksums": {second.Sums, third.Sums},
			} {
				// That of a mirror that is not ours may change meanwhile.
				if r := h.Run(t, "bash", "-c", `diff <(grep -v '"state":' "$1") <(grep -v '"state":' "$2")`, "bash", paths[0], paths[1]); r.Exit != 0 {
					t.Errorf("the %s differs: %s", what, r)
				}
			}
			if text := h.ReadFile(t, third.Manifest); !strings.Contains(text, `"name": "mkfs.erofs"`) || strings.Contains(text, `"version": ""`) ||
				!strings.Contains(text, `"state": "`) {
				t.Errorf("the manifest does not say what the bytes depend on: %.2000s", text)
			}
			validSBOM(t, h, third)
			// What is a file system is booted from a loop device, as it was written.
			for _, a := range third.Artifacts {
				if slices.Contains([]string{string(image.Squashfs), string(image.Erofs), string(image.Raw)}, a.Format) {
					report := reported(t, want(t, exitDone, h.Run(t, verifying(a.Path)...)))
					t.Logf("the %s is up after %.1f s", a.Format, report.BootSeconds)
				}
			}
			h.MustRun(t, "rm", "-rf", "/srv/first", "/srv/second", "/srv/a-third-directory")
		})
	}
}
