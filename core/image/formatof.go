package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// marks are by what the formats are told apart, whatever a file is called.
var marks = []struct {
	at     int
	mark   string
	format Format
}{
	{0, "\x28\xb5\x2f\xfd", TarZstd},
	{0, "\xfd7zXZ\x00", TarXZ},
	{0, "\x1f\x8b", TarGzip},
	{0, "hsqs", Squashfs},
	{1024, "\xe2\xe1\xf5\xe0", Erofs},
	{sector, "EFI PART", Raw},
	{257, "ustar", Tar},
}

// FormatOf tells which format the image at path is of, by what is in it.
func FormatOf(path string) (Format, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(path, "oci-layout")); err == nil {
			return OCI, nil
		}
		return Directory, nil
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q is neither a file nor a directory", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	for _, m := range marks {
		if n >= m.at && bytes.HasPrefix(head[m.at:n], []byte(m.mark)) {
			return m.format, nil
		}
	}
	return "", fmt.Errorf("%q is no image of a format that is known: there are %s", path, joined(Formats()))
}
