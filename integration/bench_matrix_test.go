//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// BenchmarkMatrixTwoAtATime compares, in turns and in one run, how long it takes
// to build and boot-verify ten images of one cached tree one at a time and two
// at a time.
//
// two/one is the ratio to be quoted, and 0.65 the most that it may be. What is gained depends on the processors:
// with two of them, unpacking and packing alone can only be halved.
func BenchmarkMatrixTwoAtATime(b *testing.B) {
	h := testhost.StartDirect(b, testhost.Options{})
	h.InstallProduct(b)
	var variants strings.Builder
	for i := range 10 {
		fmt.Fprintf(&variants, "  - name: v%d\n    labels: {number: \"%d\"}\n", i, i)
	}
	h.WriteFile(b, "/srv/images.yaml", `version: 1
defaults:
  image: {format: [tar.zst], verify: true}
distros:
  - {distro: debian, releases: [trixie]}
variants:
`+variants.String(), "0644")
	build := func(jobs string) time.Duration {
		d := timed(b, h, "nspawn-build", "matrix", "--file", "/srv/images.yaml", "--out", "/srv/results", "--jobs", jobs)
		h.MustRun(b, "rm", "-rf", "/srv/results")
		return d
	}
	h.MustRun(b, "nspawn-build", "image", "--distro", "debian", "--release", "trixie", "-o", "/srv/first.tar.zst", "first") // into the cache
	var one, two time.Duration
	for b.Loop() {
		one += build("1")
		two += build("2")
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(one.Seconds()/n, "one-s")
	b.ReportMetric(two.Seconds()/n, "two-s")
	b.ReportMetric(two.Seconds()/one.Seconds(), "two/one")
	atMost(b, "two/one", two.Seconds()/one.Seconds(), 0.65)
}
