package image

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// What is known of an erofs here, from fs/erofs/erofs_fs.h of Linux: everything
// is little-endian, and inodes are told by their place in units of 32 bytes.
const (
	erofsSuper = 1024
	erofsMagic = 0xe0f5e1e2
	erofsUnit  = 32

	erofsPlain  = 0 // how the content of an inode is laid out
	erofsInline = 2 // with what is left of the last block behind the inode

	erofsXattrHead = 12 // before the attributes of an inode
	erofsDirent    = 12
)

var errErofs = errors.New("mkfs.erofs made an erofs of a form that is not known here")

// sortErofs brings the extended attributes of each file in order: mkfs.erofs
// writes them as the file system tells them that it reads, and each tells them
// differently. Attributes that files share are kept apart from them, so there
// must be none. Nothing changes its size or place.
func sortErofs(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	e := &erofsImage{f: f, seen: map[uint64]bool{}}
	super, err := e.read(erofsSuper, 128)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(super) != erofsMagic {
		return errErofs
	}
	shift := super[12]
	if shift < 9 || shift > 16 {
		return errErofs
	}
	e.block = 1 << shift
	e.inodes = int64(binary.LittleEndian.Uint32(super[40:])) * e.block
	const summed = 1 // of the features: the first block has a checksum
	if binary.LittleEndian.Uint32(super[8:])&summed == 0 {
		return e.walk(uint64(binary.LittleEndian.Uint16(super[14:])))
	}
	if was, is, err := e.sum(); err != nil || was != is {
		return errors.Join(errErofs, err)
	}
	if err := e.walk(uint64(binary.LittleEndian.Uint16(super[14:]))); err != nil {
		return err
	}
	_, is, err := e.sum()
	if err == nil {
		_, err = f.WriteAt(binary.LittleEndian.AppendUint32(nil, is), erofsSuper+4)
	}
	return err
}

// erofsImage is one that is being put in order.
type erofsImage struct {
	f      *os.File
	block  int64
	inodes int64 // where they begin to be counted
	seen   map[uint64]bool
}

func (e *erofsImage) read(at, n int64) ([]byte, error) {
	const most = 64 << 20 // no directory is that large
	if n < 0 || n > most {
		return nil, errErofs
	}
	b := make([]byte, n)
	_, err := e.f.ReadAt(b, at)
	return b, err
}

// sum is the checksum that the super block tells, and the one that it has.
func (e *erofsImage) sum() (told, is uint32, err error) {
	b, err := e.read(erofsSuper, e.block-erofsSuper)
	if err != nil {
		return 0, 0, err
	}
	told = binary.LittleEndian.Uint32(b[4:])
	clear(b[4:8])
	return told, ^crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), nil
}

// walk sorts the attributes of an inode, and of all that are below it.
func (e *erofsImage) walk(root uint64) error {
	for todo := []uint64{root}; len(todo) > 0; {
		nid := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if e.seen[nid] {
			continue
		}
		e.seen[nid] = true
		below, err := e.inode(e.inodes + int64(nid)*erofsUnit)
		if err != nil {
			return fmt.Errorf("inode %d: %w", nid, err)
		}
		todo = append(todo, below...)
	}
	return nil
}

// inode sorts the attributes of the inode at a place, and tells what is in it if
// it is a directory.
func (e *erofsImage) inode(at int64) (below []uint64, err error) {
	b, err := e.read(at, 32)
	if err != nil {
		return nil, err
	}
	format, count := binary.LittleEndian.Uint16(b), int64(binary.LittleEndian.Uint16(b[2:]))
	length, size := int64(32), int64(binary.LittleEndian.Uint32(b[8:]))
	if format&1 != 0 {
		length, size = 64, int64(binary.LittleEndian.Uint64(b[8:]))
	}
	var xattrs int64
	if count > 0 {
		xattrs = erofsXattrHead + 4*(count-1)
		if err := e.attributes(at+length, xattrs); err != nil {
			return nil, err
		}
	}
	if binary.LittleEndian.Uint16(b[4:])&unix.S_IFMT != unix.S_IFDIR {
		return nil, nil
	}
	data := int64(binary.LittleEndian.Uint32(b[16:])) * e.block
	behind := size // from where on it is behind the inode
	switch format >> 1 & 7 {
	case erofsPlain:
	case erofsInline:
		behind = (size - 1) / e.block * e.block
	default:
		return nil, errErofs
	}
	for from := int64(0); from < size; from += e.block {
		place := data + from
		if from >= behind {
			place = at + length + xattrs
		}
		names, err := e.read(place, min(e.block, size-from))
		if err != nil {
			return nil, err
		}
		if below, err = entries(names, below); err != nil {
			return nil, err
		}
	}
	return below, nil
}

// entries adds what a block of a directory names.
func entries(b []byte, to []uint64) ([]uint64, error) {
	if len(b) < erofsDirent {
		return nil, errErofs
	}
	n := int(binary.LittleEndian.Uint16(b[8:])) // the names begin behind the last
	if n%erofsDirent != 0 || n > len(b) {
		return nil, errErofs
	}
	for ; n > 0; n -= erofsDirent {
		to = append(to, binary.LittleEndian.Uint64(b[n-erofsDirent:]))
	}
	return to, nil
}

// attributes sorts those at a place.
func (e *erofsImage) attributes(at, length int64) error {
	b, err := e.read(at, length)
	if err != nil {
		return err
	}
	if shared := b[4]; shared != 0 {
		return errErofs
	}
	var all [][]byte
	for rest := b[erofsXattrHead:]; len(rest) > 0; {
		if len(rest) < 4 {
			return errErofs
		}
		if name := rest[0]; name == 0 && rest[1] == 0 {
			return errErofs // there is no such attribute
		}
		n := 4 + int(rest[0]) + int(binary.LittleEndian.Uint16(rest[2:]))
		n += -n & 3
		if n > len(rest) {
			return errErofs
		}
		all, rest = append(all, rest[:n]), rest[n:]
	}
	slices.SortFunc(all, func(a, b []byte) int { // by kind, then by name
		return cmp.Or(cmp.Compare(a[1], b[1]), bytes.Compare(a[4:4+int(a[0])], b[4:4+int(b[0])]))
	})
	_, err = e.f.WriteAt(bytes.Join(all, nil), at+erofsXattrHead)
	return err
}
