package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sysfs stands in for /sys: a disk with a partition, a crypted volume on it,
// and a volume over two disks.
func sysfs(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"devices/vda/dev":            "254:0\n",
		"devices/vda/vda1/dev":       "254:1\n",
		"devices/vda/vda1/partition": "1\n",
		"devices/vdb/dev":            "254:16\n",
		"devices/dm-0/dev":           "253:0\n",
		"devices/dm-1/dev":           "253:1\n",
		"devices/dm-0/slaves/.keep":  "",
		"devices/dm-1/slaves/.keep":  "",
		"devices/vda/slaves/.keep":   "",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".keep") {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, to), path); err != nil {
			t.Fatal(err)
		}
	}
	link("devices/vda/vda1", "devices/dm-0/slaves/vda1")
	link("devices/vda", "devices/dm-1/slaves/vda")
	link("devices/vdb", "devices/dm-1/slaves/vdb")
	for dev, dir := range map[string]string{"254:0": "vda", "254:1": "vda/vda1", "254:16": "vdb", "253:0": "dm-0", "253:1": "dm-1"} {
		link("devices/"+dir, "block/"+dev)
	}
	return filepath.Join(root, "block")
}

func TestBandwidthIsThatOfTheWholeDisk(t *testing.T) {
	sys := sysfs(t)
	for dev, want := range map[string]string{
		"254:0": "254:0", "254:1": "254:0", "254:16": "254:16",
		"253:0": "254:0", // crypted, on a partition
		"253:1": "253:1", // over two disks: itself
	} {
		if got, err := wholeDisk(sys, dev); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", dev, got, err, want)
		}
	}
	if got, err := wholeDisk(sys, "9:9"); err == nil {
		t.Errorf("a disk that is not there is %q", got)
	}
}

func TestWhatIsOnNoDiskIsSaidSo(t *testing.T) {
	_, err := Disk("/proc/self/none/deeper")
	if err == nil || !strings.Contains(err.Error(), "is on proc, which no single disk holds") {
		t.Errorf("got %v", err)
	}
}

func TestDevicesOfBtrfsAreCounted(t *testing.T) {
	sys := t.TempDir()
	for _, name := range []string{"one/devices/vda1", "two/devices/vdb", "two/devices/vdc"} {
		if err := os.MkdirAll(filepath.Join(sys, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"vda1": 1, "vdc": 2, "unknown": 1} {
		if got := devices(sys, name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
