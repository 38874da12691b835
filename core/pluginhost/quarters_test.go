package pluginhost

import (
	"os"
	"strings"
	"testing"
)

func TestQuartersAreNotTakenWhereSocketsHaveNoRoom(t *testing.T) {
	for _, dir := range []string{"relative", "/" + strings.Repeat("x", 60)} {
		if _, err := takeQuarters(dir); err == nil {
			t.Errorf("%s was taken", dir)
		}
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nb")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
