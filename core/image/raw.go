package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/Microsoft/hcsshim/ext4/tar2ext4"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
)

// rootTypes are the types of partition by which a root file system is found, by
// architecture, from the UAPI group's Discoverable Partitions Specification.
var rootTypes = map[string]string{
	"x86_64":      "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
	"i686":        "44479540-F297-41B2-9AF7-D131D5F0458A",
	"aarch64":     "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
	"armv7l":      "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3",
	"riscv64":     "72EC70A6-CF74-40E6-BD49-4BDA08E8F224",
	"ppc64le":     "C31C45E6-3F39-412E-80FB-4809C4980599",
	"s390x":       "5EEAD9A9-FE09-4A1E-A1D7-520D00531306",
	"loongarch64": "77055800-792C-4F94-B39A-98C91B762BB6",
}

const (
	sector    = 512
	alignment = 1 << 20
	// A machine that boots from it writes to it: it has at least this much room.
	freeBytes = 1 << 30
)

// raw is a disk with one partition, which holds the tree as ext4: it is written
// from the canonical tar, packed, and then made a file system to write to, with
// room and a journal.
func (j *job) raw() (string, int64, error) {
	kind, ok := rootTypes[j.Arch]
	if !ok {
		return "", 0, fmt.Errorf("architecture: %q has no type of root partition", j.Arch)
	}
	digest, err := j.ext4("root")
	if err != nil {
		return "", 0, err
	}
	root, err := os.Open(j.scratch.path("root"))
	if err != nil {
		return "", 0, err
	}
	defer root.Close()
	info, err := root.Stat()
	if err != nil {
		return "", 0, err
	}
	disk, err := j.scratch.create(result)
	if err != nil {
		return "", 0, err
	}
	defer disk.Close()
	size := info.Size()
	if err := disk.Truncate(alignment + size + alignment); err != nil {
		return "", 0, err
	}
	if err := copySparse(disk, root, alignment, size); err != nil {
		return "", 0, err
	}
	table := gpt.Table{
		LogicalSectorSize: sector, PhysicalSectorSize: sector, ProtectiveMBR: true,
		GUID: identity("disk", digest),
		Partitions: []*gpt.Partition{{
			Index: 1, Start: alignment / sector, End: uint64(alignment+size)/sector - 1, Size: uint64(size),
			Type: gpt.Type(kind), Name: "root", GUID: identity("partition", digest),
		}},
	}
	if err := table.Write(disk, alignment+size+alignment); err != nil {
		return "", 0, fmt.Errorf("partition table: %w", err)
	}
	return j.digestOf(result)
}

// ext4 makes the file system, and returns the digest of what is in it.
func (j *job) ext4(name string) (digest string, err error) {
	f, err := j.scratch.create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest, err = j.digest()
	if err != nil {
		return "", err
	}
	err = feed(func(w io.Writer) error {
		_, err := j.write(w, archive.WriteOptions{Xattr: ext4Attribute})
		return err
	}, func(r io.Reader) error {
		const largest = 8 << 40
		return tar2ext4.ConvertTarToExt4(r, f, tar2ext4.MaximumDiskSize(largest))
	})
	if err != nil {
		return "", err
	}
	packed, err := f.Stat()
	if err != nil {
		return "", err
	}
	size := packed.Size() + max(freeBytes, packed.Size()/2)
	size += -size & (alignment - 1)
	t := tool{dir: j.scratch.dir, environment: []string{
		"E2FSPROGS_FAKE_TIME=" + strconv.FormatInt(j.moment(), 10), "MKE2FS_CONFIG=/dev/null",
	}}
	for _, step := range [][]string{
		{"tune2fs", "-O", "^read-only", name},
		{"resize2fs", name, strconv.FormatInt(size/1024, 10) + "K"},
		{"tune2fs", "-f", "-j", "-c", "0", "-i", "0", "-L", "root", "-U", identity("ext4", digest), name},
	} {
		if err := t.run(j.ctx, step[0], step[1:]...); err != nil {
			return "", err
		}
	}
	return digest, nil
}

// digest is that of the canonical tar, which is written nowhere.
func (j *job) digest() (string, error) {
	quiet := *j
	quiet.Progress = nil
	return quiet.write(io.Discard, archive.WriteOptions{})
}

// copySparse copies what is between the holes of a file to another place.
func copySparse(to, from *os.File, at, size int64) error {
	for begin := int64(0); begin < size; {
		data, err := unix.Seek(int(from.Fd()), begin, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole is left
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := to.Seek(at+data, io.SeekStart); err != nil {
			return err
		}
		if _, err := from.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(to, from, end-data); err != nil {
			return err
		}
		begin = end
	}
	return nil
}
