//go:build integration

package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// BenchmarkCreateOverTheBareTool compares, in turns and in one run, how long
// mmdebstrap alone takes to make a tree of a set of packages, and how long
// nspawn-build takes to make a machine of the same set, boot and login
// included. Both begin without any package on the host.
//
// What it reports is an average in seconds; overhead-s is the difference and
// create/bare the ratio. Machines differ and are noisy: the ratio is to be
// quoted.
func BenchmarkCreateOverTheBareTool(b *testing.B) {
	h := testhost.StartDirect(b, testhost.Options{})
	h.InstallProduct(b)
	h.MustRun(b, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
	include := "--include=" + strings.Join(packagesOfAMachine(b, h), ",")

	var bare, whole, boot time.Duration
	for b.Loop() {
		bare += timed(b, h, "mmdebstrap", "--quiet", "--variant=minbase", include, "trixie", "/root/bare", "/etc/apt/sources.list.d/debian.sources")
		h.MustRun(b, "rm", "-rf", "/root/bare")

		start := time.Now()
		out := h.MustRun(b, "nspawn-build", "--distro", "debian", "--release", "trixie", "box", "--output", "json")
		whole += time.Since(start)
		var made struct{ Seconds map[string]float64 }
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			b.Fatal(err)
		}
		boot += time.Duration(made.Seconds["boot"] * float64(time.Second))
		h.MustRun(b, "nspawn-build", "destroy", "box")
		h.MustRun(b, "rm", "-rf", "/var/cache/nspawn-build")
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(bare.Seconds()/n, "bare-s")
	b.ReportMetric(whole.Seconds()/n, "create-s")
	b.ReportMetric((whole-bare).Seconds()/n, "overhead-s")
	b.ReportMetric(boot.Seconds()/n, "boot-s")
	b.ReportMetric(whole.Seconds()/bare.Seconds(), "create/bare")
}

// packagesOfAMachine makes a machine and names every package in it.
func packagesOfAMachine(b *testing.B, h *testhost.Host) []string {
	b.Helper()
	h.MustRun(b, "nspawn-build", "--distro", "debian", "--release", "trixie", "box")
	var record struct {
		Facts struct{ Packages []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(h.ReadFile(b, "/var/lib/nspawn-build/machines/box.json")), &record); err != nil {
		b.Fatal(err)
	}
	h.MustRun(b, "nspawn-build", "destroy", "box")
	h.MustRun(b, "rm", "-rf", "/var/cache/nspawn-build")
	names := make([]string, 0, len(record.Facts.Packages))
	for _, p := range record.Facts.Packages {
		names = append(names, p.Name)
	}
	return names
}

func timed(b *testing.B, h *testhost.Host, args ...string) time.Duration {
	b.Helper()
	start := time.Now()
	h.MustRun(b, args...)
	return time.Since(start)
}

// BenchmarkCloneOfAMachine compares, in turns and in one run, how long it takes
// to clone a machine without booting it, and how long `cp -a` takes for its tree
// alone, when that is to be on disk as well.
func BenchmarkCloneOfAMachine(b *testing.B) {
	h := testhost.StartDirect(b, testhost.Options{})
	h.InstallProduct(b)
	h.MustRun(b, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
	h.InstallFixture(b)
	h.MustRun(b, "nspawn-build", "--distro", "fixture", "box", "--no-boot")

	var whole, bare time.Duration
	for b.Loop() {
		whole += timed(b, h, "nspawn-build", "clone", "box", "twin", "--no-boot")
		h.MustRun(b, "nspawn-build", "destroy", "twin")
		bare += timed(b, h, "sh", "-c", "cp -a --reflink=auto /root/containers/box /root/bare && sync -f /root/bare")
		h.MustRun(b, "rm", "-rf", "/root/bare")
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(whole.Seconds()/n, "clone-s")
	b.ReportMetric(bare.Seconds()/n, "cp-s")
	b.ReportMetric(whole.Seconds()/bare.Seconds(), "clone/cp")
}
