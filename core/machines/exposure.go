package machines

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Exposure is why a directory is no place for trees: a program that is setuid
// in a machine would be so for whoever can come near it on the host.
type Exposure struct {
	Problem string // reads on after the directory: "can be entered by others"
	Mend    string // the command that closes it; empty when none does
}

const elsewhere = "name another, such as /var/lib/machines"

// Exposed looks at a directory and all that lead to it; nil when nobody but
// root can come near what is in it.
func Exposed(dir string) *Exposure {
	real, err := resolveExisting(dir)
	if err != nil {
		return &Exposure{Problem: "cannot be used: " + err.Error()}
	}
	closed := false
	for d := real; ; d = filepath.Dir(d) {
		var st unix.Stat_t
		switch err := unix.Stat(d, &st); {
		case errors.Is(err, fs.ErrNotExist):
			closed = true // made by us, root's alone
		case err != nil:
			return &Exposure{Problem: "cannot be used: " + err.Error()}
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			return &Exposure{Problem: "leads through " + d + ", which is not a directory"}
		case st.Mode&0o022 != 0 && d == real:
			return &Exposure{"may be written to by others", "chmod 700 " + d}
		case st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
			return &Exposure{"leads through " + d + ", which others may write to", "chmod go-w " + d}
		case st.Uid == 0 && st.Mode&0o077 == 0:
			closed = true
		}
		if d == "/" {
			break
		}
	}
	if !closed {
		return &Exposure{"can be entered by others, who could run what is setuid in the machine", "chmod 700 " + dir}
	}
	return nil
}

// checkDirectory refuses a directory that is no place for trees.
func checkDirectory(dir string) error {
	e := Exposed(dir)
	if e == nil {
		return nil
	}
	hint := elsewhere
	if e.Mend != "" {
		hint = e.Mend + ", or " + elsewhere
	}
	return spec.Invalid{{Field: "directory", Value: dir, Problem: e.Problem, Hint: hint}}
}

// resolveExisting follows the links of the part of path that exists.
func resolveExisting(path string) (string, error) {
	rest := ""
	for p := path; ; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || p == "/" {
			return "", err
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}
