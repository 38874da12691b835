package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
)

// partition is where the root file system of an image is, and what it is.
type partition struct {
	offset, size int64 // in bytes
	kind         string
}

// discoverable are the types of partitions that hold a root file system, as the
// Discoverable Partitions Specification has them, by what Go calls an
// architecture: all for which a disk can be made.
var discoverable = map[string]string{
	"amd64":   "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
	"arm64":   "b921b045-1df0-41c3-af44-4c6f280d3fae",
	"386":     "44479540-f297-41b2-9af7-d131d5f0458a",
	"arm":     "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
	"loong64": "77055800-792c-4f94-b39a-98c91b762bb6",
	"ppc64le": "c31c45e6-3f39-412e-80fb-4809c4980599",
	"riscv64": "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
	"s390x":   "5eead9a9-fe09-4a1e-a1d7-520d00531306",
}

// rootTypes are those that are looked for here, and at last that of any Linux's.
func rootTypes() []string {
	const anyLinux = "0fc63daf-8483-4772-8e79-3d69d8477de4"
	return []string{discoverable[runtime.GOARCH], anyLinux}
}

var errNoFileSystem = errors.New("neither a file system nor a disk with one for a root is in it")

// rootPartition finds the root file system of an image: all of the file, or the
// first partition of a type that is for it.
func rootPartition(r io.ReaderAt, size int64) (partition, error) {
	if kind := kindOf(r, 0); kind != "" {
		return partition{0, size, kind}, nil
	}
	for _, sector := range []int64{512, 4096} {
		entries := tableOf(r, size, sector)
		for _, wanted := range rootTypes() {
			for _, e := range entries {
				if e.kind != wanted || wanted == "" {
					continue
				}
				if kind := kindOf(r, e.offset); kind != "" {
					return partition{e.offset, e.size, kind}, nil
				}
			}
		}
	}
	return partition{}, errNoFileSystem
}

// tableOf reads a GUID partition table. The kinds are partition types. What makes
// no sense is left out: an image may say anything.
func tableOf(r io.ReaderAt, size, sector int64) []partition {
	header := make([]byte, 92)
	if _, err := r.ReadAt(header, sector); err != nil || !bytes.HasPrefix(header, []byte("EFI PART")) {
		return nil
	}
	at := binary.LittleEndian.Uint64(header[72:])
	count := min(binary.LittleEndian.Uint32(header[80:]), 1024)
	length := int64(binary.LittleEndian.Uint32(header[84:]))
	if length < 128 || length > 4096 || at > uint64(size/sector) {
		return nil
	}
	var found []partition
	entry := make([]byte, length)
	for i := range int64(count) {
		if _, err := r.ReadAt(entry, int64(at)*sector+i*length); err != nil {
			break
		}
		first, last := binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])
		if first == 0 || last < first || last >= uint64(size/sector) {
			continue
		}
		found = append(found, partition{int64(first) * sector, int64(last-first+1) * sector, guid(entry[:16])})
	}
	return found
}

// guid renders one as it is on disk, where its first three numbers are little-endian.
func guid(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for i, from := range []int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s.WriteByte('-')
		}
		s.WriteByte(digits[b[from]>>4])
		s.WriteByte(digits[b[from]&15])
	}
	return s.String()
}
