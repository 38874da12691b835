package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/nspawn-build/nspawn-build/core/archive"
)

// squashfs has sqfstar read the canonical tar, so that it sees neither the order
// of directories on disk nor that of extended attributes, and follows nothing.
func (j *job) squashfs() (string, int64, error) {
	root := j.root
	at := strconv.FormatInt(j.moment(), 10)
	err := feed(func(w io.Writer) error {
		_, err := j.write(w, archive.WriteOptions{GNULinks: true})
		return err
	}, func(r io.Reader) error {
		return tool{dir: j.scratch.dir, in: r}.run(j.ctx, "sqfstar",
			"-comp", "zstd", "-reproducible", "-exit-on-error", "-quiet", "-no-progress", "-mkfs-time", at,
			// It passes over the root's own entry.
			"-root-mode", strconv.FormatUint(uint64(root.Mode), 8), "-root-uid", strconv.Itoa(root.UID), "-root-gid", strconv.Itoa(root.GID),
			"-noI", // for the root's time to be mended
			result)
	})
	if err != nil {
		return "", 0, err
	}
	if err := setRootTime(j.scratch.path(result), uint32(max(root.ModTime.Unix(), 0))); err != nil {
		return "", 0, err
	}
	if err := os.Chmod(j.scratch.path(result), 0o644); err != nil {
		return "", 0, err
	}
	return j.digestOf(result)
}

// setRootTime gives the root directory its time. sqfstar gives it the one at which it runs,
// and up to 4.5.1 takes -root-time for nothing. The form is that of
// Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h: the
// inodes are in blocks of metadata, here not compressed.
func setRootTime(path string, seconds uint32) error {
	const (
		magic       = 0x73717368
		atRoot      = 32 // of the super block: where the root's inode is
		atInodes    = 64 // and where the blocks of inodes begin
		plain       = 0x8000
		length      = 2 // of a block of metadata, before it
		atTime      = 8 // of an inode
		superblock  = 96
		typeDir     = 1
		typeLongDir = 8
	)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, superblock)
	if _, err := f.ReadAt(head, 0); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(head) != magic {
		return errors.New("sqfstar made no squashfs")
	}
	root := binary.LittleEndian.Uint64(head[atRoot:])
	block := int64(binary.LittleEndian.Uint64(head[atInodes:])) + int64(root>>16)
	inode := block + length + int64(root&0xffff)
	found := make([]byte, 2)
	if _, err := f.ReadAt(found, block); err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(found)&plain == 0 {
		return errors.New("sqfstar compressed the inodes")
	}
	if _, err := f.ReadAt(found, inode); err != nil {
		return err
	}
	if kind := binary.LittleEndian.Uint16(found); kind != typeDir && kind != typeLongDir {
		return fmt.Errorf("the root of the squashfs is of type %d", kind)
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint32(nil, seconds), inode+atTime)
	return err
}
