package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheFirstFileThatMatchesALinkOutranksOurs(t *testing.T) {
	etc, lib := t.TempDir(), t.TempDir()
	ours := filepath.Join(etc, "50-ve-box.network")
	for _, c := range []struct {
		name, dir, file, text string
		outranks              bool
	}{
		{"all links", etc, "10-all.network", "[Match]\nName=*\n", true},
		{"all but some", etc, "10-all.network", "[Match]\nName=!en* wl*\n", true},
		{"all but ours", etc, "10-all.network", "[Match]\nName=!ve-*\n", false},
		{"veth", lib, "20-veth.network", "[Match]\nDriver=veth\n", true},
		{"ethernet", etc, "20-wired.network", "[Match]\nType=ether\n", true},
		{"ethernet of another kind", etc, "20-wired.network", "[Match]\nType=ether\nKind=!*\n", false},
		{"a hardware address", etc, "10-one.network", "[Match]\nName=*\nMACAddress=00:11:22:33:44:55\n", false},
		{"nothing", etc, "10-none.network", "[Network]\nDHCP=yes\n", false},
		{"later", etc, "80-all.network", "[Match]\nName=*\n", false},
		{"not a network file", etc, "10-all.link", "[Match]\nName=*\n", false},
	} {
		path := filepath.Join(c.dir, c.file)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := outranking([]string{etc, lib, filepath.Join(lib, "nowhere")}, "ve-box", ours)
		if err != nil || (got == path) != c.outranks {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	// A file of the same name in a directory that comes first hides it.
	for _, path := range []string{filepath.Join(lib, "10-all.network"), filepath.Join(etc, "10-all.network")} {
		text := "[Match]\nName=*\n"
		if filepath.Dir(path) == etc {
			text = ""
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := outranking([]string{etc, lib}, "ve-box", ours); got != "" || err != nil {
		t.Errorf("a hidden file counts: %q, %v", got, err)
	}
}
