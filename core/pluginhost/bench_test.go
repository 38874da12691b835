package pluginhost

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// BenchmarkColdStart measures what it costs to check, enclose and start a plugin,
// shake hands, have it describe itself and end it, and, in turn with that, what
// the bare process costs that describes itself. The difference, ms-over-bare, is
// what there is to pay for each start. It fails above 100 ms.
func BenchmarkColdStart(b *testing.B) {
	h := newHost(b)
	path := listing("good").Path
	var hosted, bare time.Duration
	for b.Loop() {
		begin := time.Now()
		s, err := h.Start(b.Context(), listing("good"), Grants{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		cmd := exec.Command(path, "describe") //nolint:gosec,noctx // a benchmark's own
		cmd.Env, cmd.Stderr = []string{}, os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		hosted, bare = hosted+middle.Sub(begin), bare+time.Since(middle)
	}
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(b.N) }
	b.ReportMetric(each(bare), "ms-bare")
	b.ReportMetric(each(hosted-bare), "ms-over-bare")
	if over := each(hosted - bare); over > 100 {
		b.Errorf("a plugin costs %.0f ms over the bare process", over)
	}
}

// BenchmarkVerify measures the check of the binary alone.
func BenchmarkVerify(b *testing.B) {
	h := newHost(b)
	for b.Loop() {
		found, err := h.verify(listing("good").Path)
		if err != nil {
			b.Fatal(err)
		}
		found.close()
	}
}
