package verify

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// disk is an image of so many sectors of that size, with a table of partitions.
type disk struct {
	sector int64
	text   []byte
}

func newDisk(sector, sectors int64) *disk { return &disk{sector, make([]byte, sector*sectors)} }

// raw is how a GUID is on disk.
func raw(t *testing.T, guid string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(guid, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	return []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}
}

func (d *disk) header(at uint64, count, length uint32) {
	h := d.text[d.sector:]
	copy(h, "EFI PART")
	binary.LittleEndian.PutUint64(h[72:], at)
	binary.LittleEndian.PutUint32(h[80:], count)
	binary.LittleEndian.PutUint32(h[84:], length)
}

func (d *disk) entry(t *testing.T, n int64, guid string, first, last uint64) {
	t.Helper()
	e := d.text[2*d.sector+n*128:]
	copy(e, raw(t, guid))
	binary.LittleEndian.PutUint64(e[32:], first)
	binary.LittleEndian.PutUint64(e[40:], last)
}

func (d *disk) ext4(at int64) { copy(d.text[at+1024+56:], []byte{0x53, 0xef}) }

const (
	anyLinux = "0fc63daf-8483-4772-8e79-3d69d8477de4"
	esp      = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
)

func TestTheRootPartitionOfADiskIsFound(t *testing.T) {
	for _, sector := range []int64{512, 4096} {
		d := newDisk(sector, 64)
		d.header(2, 8, 128)
		d.entry(t, 0, esp, 8, 15)
		d.entry(t, 1, anyLinux, 16, 31)
		d.entry(t, 2, rootTypes()[0], 32, 47)
		d.ext4(16 * sector)
		d.ext4(32 * sector)
		got, err := rootPartition(bytes.NewReader(d.text), int64(len(d.text)))
		if want := (partition{32 * sector, 16 * sector, "ext4"}); err != nil || got != want {
			t.Errorf("sectors of %d: got %+v, %v, want %+v", sector, got, err, want)
		}
		// Where there is none of the type for this machine's roots, any Linux's is.
		d.entry(t, 2, esp, 32, 47)
		got, err = rootPartition(bytes.NewReader(d.text), int64(len(d.text)))
		if want := (partition{16 * sector, 16 * sector, "ext4"}); err != nil || got != want {
			t.Errorf("sectors of %d: got %+v, %v, want %+v", sector, got, err, want)
		}
	}
}

func TestAFileSystemIsToldByWhatItBeginsWith(t *testing.T) {
	for _, m := range magics {
		text := make([]byte, 128<<10)
		copy(text[m.at:], m.text)
		got, err := rootPartition(bytes.NewReader(text), int64(len(text)))
		if want := (partition{0, int64(len(text)), m.kind}); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestATableThatMakesNoSenseIsNoDisk(t *testing.T) {
	whole := func() *disk {
		d := newDisk(512, 64)
		d.header(2, 8, 128)
		d.entry(t, 0, anyLinux, 16, 31)
		d.ext4(16 * 512)
		return d
	}
	for name, spoil := range map[string]func(*disk){
		"entries beyond the end":     func(d *disk) { d.header(1<<60, 8, 128) },
		"entries of no length":       func(d *disk) { d.header(2, 8, 0) },
		"entries without end":        func(d *disk) { d.header(2, 1<<31, 1<<31) },
		"a partition beyond the end": func(d *disk) { d.entry(t, 0, anyLinux, 16, 1<<62) },
		"a partition that ends first": func(d *disk) {
			d.entry(t, 0, anyLinux, 31, 16)
		},
		"a partition with nothing in it": func(d *disk) { clear(d.text[16*512:]) },
		"no table":                       func(d *disk) { clear(d.text[:1024]) },
		"a cut":                          func(d *disk) { d.text = d.text[:600] },
		"nothing":                        func(d *disk) { d.text = nil },
	} {
		d := whole()
		if _, err := rootPartition(bytes.NewReader(d.text), int64(len(d.text))); err != nil {
			t.Fatal(err)
		}
		spoil(d)
		if got, err := rootPartition(bytes.NewReader(d.text), int64(len(d.text))); !errors.Is(err, errNoFileSystem) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestEachArchitectureThatADiskCanBeMadeForHasARootOfItsOwn(t *testing.T) {
	known := map[string]string{}
	for _, arch := range []string{"386", "amd64", "arm", "arm64", "loong64", "ppc64le", "riscv64", "s390x"} {
		kind := discoverable[arch]
		if other := known[kind]; kind == "" || len(raw(t, kind)) != 16 || other != "" {
			t.Errorf("%s has %q, as %q has", arch, kind, other)
		}
		known[kind] = arch
	}
}
