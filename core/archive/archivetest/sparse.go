package archivetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const block = 512

// Sparse are tar streams of a directory and in it a file of that name and many
// bytes, none of which the stream holds: one stream for each way that GNU tar
// has had to say so. No writer of tar makes them, so they are put together here.
func Sparse(name string, size int64) map[string][]byte {
	n := strconv.FormatInt(size, 10)
	directory := header("./", '5', 0, "ustar\x0000")
	file := header(name, '0', 0, "ustar\x0000")
	list := append([]byte("1\n0\n0\n"), make([]byte, block-len("1\n0\n0\n"))...)
	old := header(name, 'S', 0, "ustar  \x00")
	// The map of what there is of it: nothing, at its beginning.
	copy(old[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, 0))
	old[483] = 0x80 // in base 256
	binary.BigEndian.PutUint64(old[487:], uint64(size))
	sum(old)
	streams := map[string][]byte{}
	for form, parts := range map[string][][]byte{
		"old GNU": {directory, old},
		"GNU 0.0": {directory, pax("GNU.sparse.size", n, "GNU.sparse.numblocks", "1", "GNU.sparse.offset", "0", "GNU.sparse.numbytes", "0"), file},
		"GNU 0.1": {directory, pax("GNU.sparse.size", n, "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,0"), file},
		"GNU 1.0": {
			directory, pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", name, "GNU.sparse.realsize", n),
			header("GNUSparseFile.0/"+name, '0', block, "ustar\x0000"), list,
		},
	} {
		streams[form] = append(bytes.Join(parts, nil), make([]byte, 2*block)...)
	}
	return streams
}

// header is one block, of which the size is that of what follows.
func header(name string, kind byte, size int, magic string) []byte {
	b := make([]byte, block)
	copy(b, name)
	copy(b[100:], "0000755\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00%011o\x00", size, 1_000_000_000))
	b[156] = kind
	copy(b[257:], magic)
	sum(b)
	return b
}

// sum puts the sum of a header into it.
func sum(b []byte) {
	copy(b[148:156], "        ")
	total := 0
	for _, c := range b {
		total += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", total))
}

// pax is a header of records, keys and values, for the entry that follows.
func pax(records ...string) []byte {
	var text strings.Builder
	for pair := range slices.Chunk(records, 2) {
		record := " " + strings.Join(pair, "=") + "\n"
		length := len(record)
		for length < len(record)+len(strconv.Itoa(length)) {
			length++
		}
		text.WriteString(strconv.Itoa(length) + record)
	}
	b := append(header("records", 'x', text.Len(), "ustar\x0000"), text.String()...)
	return append(b, make([]byte, (block-text.Len()%block)%block)...)
}
