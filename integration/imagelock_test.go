//go:build integration

package integration

import (
	"slices"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// A lock pins every package, and the time that stands for all others: the images
// that are made of it are the same bytes, wherever and whenever they are made.
func TestImagesOfALockAreTheSameForEveryDistribution(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{}, arch, fedora)))
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
			first := make("/srv/first/", "--format", "tar")
			formats := []string{"--locked", first.Lock, "--format", "tar", "--format", "oci", "--format", "squashfs"}
			second, third := make("/srv/second/", formats...), make("/srv/a-third-directory/", formats...)
			for i, a := range second.Artifacts {
				if b := third.Artifacts[i]; a.SHA256 != b.SHA256 {
					t.Errorf("as %s they are %s and %s", a.Format, a.SHA256, b.SHA256)
				}
			}
			if second.Digest != third.Digest || second.Digest == "" {
				t.Errorf("the trees are %s and %s\n%s", second.Digest, third.Digest,
					h.Run(t, "nspawn-build", "diff", second.Artifacts[0].Path, third.Artifacts[0].Path))
			}
			for what, paths := range map[string][2]string{
				"manifest": {second.Manifest, third.Manifest}, "SBOM": {second.SBOM, third.SBOM},
				"lock": {second.Lock, third.Lock}, "checksums": {second.Sums, third.Sums},
			} {
				if r := h.Run(t, "cmp", paths[0], paths[1]); r.Exit != 0 {
					t.Errorf("the %s differs: %s", what, r)
				}
			}
			validSBOM(t, h, third)
			h.MustRun(t, "rm", "-rf", "/srv/first", "/srv/second", "/srv/a-third-directory")
		})
	}
}
