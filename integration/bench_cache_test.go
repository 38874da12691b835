//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// BenchmarkWarmCreateOverTheBareTool compares, in turns and in one run, how long
// mmdebstrap alone takes to make a tree of a set of packages, and how long it
// takes to make a machine of the same set again, boot and login included, once a
// tree of it is kept: on ext4 and on btrfs. It fails above a quarter and a tenth.
// mmdebstrap's tree is on ext4, as both say how long it takes.
func BenchmarkWarmCreateOverTheBareTool(b *testing.B) {
	for on, most := range map[string]float64{"ext4": 0.25, "btrfs": 0.1} {
		b.Run(on, func(b *testing.B) {
			h := testhost.StartDirect(b, testhost.Options{})
			h.InstallProduct(b)
			h.MustRun(b, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
			include := "--include=" + strings.Join(packagesOfAMachine(b, h), ",")
			create := []string{"nspawn-build", "--distro", "debian", "--release", "trixie", "box", "--output", "json"}
			if on == "ext4" {
				isOn(b, h, "/root", on)
			} else {
				benchBtrfs(b, h, "/srv/btrfs")
				h.MustRun(b, "sh", "-c", "mkdir -p /srv/btrfs/cache /var/cache/nspawn-build && mount --bind /srv/btrfs/cache /var/cache/nspawn-build")
				create = append(create, "--directory", "/srv/btrfs/machines")
			}
			cold := timed(b, h, create...)
			h.MustRun(b, "nspawn-build", "destroy", "box")

			var bare, warm, bootstrap, boot time.Duration
			for b.Loop() {
				bare += timed(b, h, "mmdebstrap", "--quiet", "--variant=minbase", include, "trixie", "/root/bare", "/etc/apt/sources.list.d/debian.sources")
				h.MustRun(b, "rm", "-rf", "/root/bare")
				start := time.Now()
				out := h.MustRun(b, create...)
				warm += time.Since(start)
				var made struct {
					Seconds map[string]float64
					Cache   struct{ Hit bool }
				}
				if err := json.Unmarshal([]byte(out), &made); err != nil || !made.Cache.Hit {
					b.Fatalf("it was not made of the cache: %v: %s", err, out)
				}
				bootstrap += time.Duration(made.Seconds["bootstrap"] * float64(time.Second))
				boot += time.Duration(made.Seconds["boot"] * float64(time.Second))
				h.MustRun(b, "nspawn-build", "destroy", "box")
			}
			if on == "btrfs" {
				h.MustRun(b, "umount", "/var/cache/nspawn-build")
			}
			n := float64(b.N)
			b.ReportMetric(0, "ns/op") // the sum of both says nothing
			b.ReportMetric(bare.Seconds()/n, "bare-s")
			b.ReportMetric(cold.Seconds(), "cold-s")
			b.ReportMetric(warm.Seconds()/n, "warm-s")
			b.ReportMetric(bootstrap.Seconds()/n, "take-s")
			b.ReportMetric(boot.Seconds()/n, "boot-s")
			b.ReportMetric(warm.Seconds()/bare.Seconds(), "warm/bare")
			atMost(b, "warm/bare", warm.Seconds()/bare.Seconds(), most)
		})
	}
}

// atMost fails a benchmark whose ratio is above what is promised of it.
func atMost(b *testing.B, name string, ratio, most float64) {
	b.Helper()
	if ratio > most {
		b.Errorf("%s is %.3f, and is promised to be at most %.2f", name, ratio, most)
	}
}

// isOn fails where a directory of the host is not on the kind of file system
// that is measured. The tree of a test host is an overlay.
func isOn(b *testing.B, h *testhost.Host, dir, want string) {
	b.Helper()
	if kind := strings.TrimSpace(h.MustRun(b, "stat", "--file-system", "--format=%T", dir)); !strings.HasPrefix(kind, want[:3]) {
		b.Fatalf("%s is on %s, and %s is to be measured", dir, kind, want)
	}
}

// benchBtrfs mounts an empty btrfs on the host until the benchmark ends.
func benchBtrfs(b *testing.B, h *testhost.Host, dir string) {
	b.Helper()
	testhost.Require(b, "mkfs.btrfs", "losetup")
	image := filepath.Join(b.TempDir(), "btrfs")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 4<<30)); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command("mkfs.btrfs", "-q", image).CombinedOutput(); err != nil {
		b.Fatalf("mkfs.btrfs: %v: %s", err, out)
	}
	loop, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		testhost.Unmet(b, "a loop device: "+string(loop))
	}
	device := strings.TrimSpace(string(loop))
	b.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	h.MustRun(b, "sh", "-c", `mkdir -p "$2" && mknod /dev/nspawn-build-test b 7 "${1#/dev/loop}" && mount -t btrfs /dev/nspawn-build-test "$2" && chmod 700 "$2"`, "sh", device, dir)
}
