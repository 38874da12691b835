package hostfile_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
)

func TestOnlyWhatIsOursIsRead(t *testing.T) {
	f, etc := open(t)
	p := filepath.Join(etc, "file")
	if got, err := f.Read(p, ours); err != nil || got != nil {
		t.Errorf("of no file: %q, %v", got, err)
	}
	if err := f.Write(p, []byte(mark+"text"), 0o644, ours); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Read(p, ours); err != nil || string(got) != mark+"text" {
		t.Errorf("of ours: %q, %v", got, err)
	}
	if got, err := f.Read(p, func([]byte) bool { return false }); !errors.Is(err, hostfile.ErrForeign) || got != nil {
		t.Errorf("of another's: %q, %v", got, err)
	}
}
