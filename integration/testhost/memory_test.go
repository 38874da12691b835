package testhost

import (
	"os"
	"runtime"
	"strconv"
	"testing"
)

func TestWhatAProcessUsesShowsInItsMemory(t *testing.T) {
	const much = 64 << 20
	self := strconv.Itoa(os.Getpid())
	before := proportional(self)
	if before <= 0 {
		t.Fatalf("a process that runs has no memory: %d", before)
	}
	used := make([]byte, much)
	for i := range used {
		used[i] = 1
	}
	if after := proportional(self); after-before < much/2 {
		t.Errorf("%d bytes in use after %d, of which %d are new", after, before, much)
	}
	runtime.KeepAlive(used)
}
