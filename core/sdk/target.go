package sdk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// CheckTarget makes sure that dir is what Request.Target promises: an absolute
// path of an existing, empty directory. An error is a *Failure.
func CheckTarget(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
		return &Failure{
			Code:    CodeInvalidRequest,
			Message: fmt.Sprintf("target: %q is not the clean absolute path of a directory", dir),
		}
	}
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &Failure{Code: CodeDisk, Message: "target", Err: err}
	}
	defer f.Close() //nolint:errcheck // only read from
	names, err := f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return &Failure{Code: CodeDisk, Message: "target", Err: err}
	}
	return &Failure{
		Code:    CodeInvalidRequest,
		Message: fmt.Sprintf("target: %s is not empty: it has %q", dir, names[0]),
		Hint:    "give an empty directory",
	}
}

// maxOSRelease is many times the size of any real os-release.
const maxOSRelease = 64 << 10

// ReadOSRelease returns the fields of the os-release of the tree at root. Links
// are resolved as they would be inside the tree, and never lead out of it.
func ReadOSRelease(root string) (map[string]string, error) {
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		fields, err := readOSRelease(root, path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", path, root, err)
		}
		return fields, nil
	}
	return nil, fmt.Errorf("%s has no os-release: %w", root, os.ErrNotExist)
}

func readOSRelease(root, path string) (map[string]string, error) {
	handle, err := pathrs.OpenInRoot(root, path)
	if err != nil {
		return nil, err
	}
	defer handle.Close() //nolint:errcheck // only read from
	// The kind is checked on the O_PATH handle: opening a device or a FIFO for
	// reading could have effects of its own.
	info, err := handle.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file but %s", info.Mode().Type())
	}
	if info.Size() > maxOSRelease {
		return nil, fmt.Errorf("%d bytes are too many", info.Size())
	}
	f, err := pathrs.Reopen(handle, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	return ParseOSRelease(io.LimitReader(f, maxOSRelease))
}

// ParseOSRelease reads the format of os-release(5): NAME=value lines, the value
// quoted as in a shell. What is not of that form is passed over.
func ParseOSRelease(r io.Reader) (map[string]string, error) {
	fields := map[string]string{}
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxOSRelease+1)
	for in.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(in.Text()), "=")
		if !ok || !fieldName(name) {
			continue
		}
		fields[name] = Clean(unquote(value), 1024)
	}
	return fields, in.Err()
}

func fieldName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// unquote undoes the shell quoting of a single word.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
