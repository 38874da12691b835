package pluginhost

import (
	"os"
	"os/exec"
	"testing"
)

// BenchmarkSession measures what a session costs from the check of the binary
// to the end of its process, with Describe in between.
func BenchmarkSession(b *testing.B) {
	h := newHost(b)
	for b.Loop() {
		s, err := h.Start(b.Context(), listing("good"), Grants{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareProcess is what there is to compare it with: the same program,
// started without a host.
func BenchmarkBareProcess(b *testing.B) {
	needRoot(b)
	path := listing("good").Path
	for b.Loop() {
		cmd := exec.Command(path, "describe") //nolint:gosec,noctx // a benchmark's own
		cmd.Env = []string{}
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
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
