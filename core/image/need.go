package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Need is a program that a format takes.
type Need struct {
	Program string
	Why     string
	// Packages name what brings it, by family of distributions: "debian",
	// "arch", "fedora".
	Packages map[string]string
}

func need(program, why, debian, arch, fedora string) Need {
	return Need{program, why, map[string]string{"debian": debian, "arch": arch, "fedora": fedora}}
}

// Needs says what programs a format takes on the host.
func Needs(f Format) []Need {
	switch f {
	case TarXZ:
		return []Need{need("xz", "compresses", "xz-utils", "xz", "xz")}
	case Squashfs:
		return []Need{need("sqfstar", "makes squashfs", "squashfs-tools", "squashfs-tools", "squashfs-tools")}
	case Erofs:
		return []Need{need("mkfs.erofs", "makes erofs", "erofs-utils", "erofs-utils", "erofs-utils")}
	case Raw:
		const why = "makes ext4"
		return []Need{
			need("resize2fs", why, "e2fsprogs", "e2fsprogs", "e2fsprogs"),
			need("tune2fs", why, "e2fsprogs", "e2fsprogs", "e2fsprogs"),
		}
	}
	return nil
}

// MissingError says that this host lacks a program.
type MissingError struct{ Need }

// Error says what it is for.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s, which %s, is not installed", e.Program, e.Why)
}

// Hint says what brings it.
func (e *MissingError) Hint() string {
	p := e.Packages
	return fmt.Sprintf("install %s (Debian), %s (Arch Linux) or %s (Fedora)", p["debian"], p["arch"], p["fedora"])
}

// Lacks is a *MissingError if this host has no such program.
func Lacks(n Need) error {
	if _, err := lookUp(n.Program); err != nil {
		return &MissingError{n}
	}
	return nil
}

func checkNeeds(needs []Need) error {
	for _, n := range needs {
		if err := Lacks(n); err != nil {
			return err
		}
	}
	return nil
}

// sbin is where programs are that PATH may leave out.
const sbin = "/usr/local/sbin:/usr/sbin:/sbin"

func lookUp(program string) (string, error) {
	if found, err := exec.LookPath(program); err == nil {
		return found, nil
	}
	for dir := range strings.SplitSeq(sbin, ":") {
		found := filepath.Join(dir, program)
		if info, err := os.Stat(found); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return found, nil
		}
	}
	return "", exec.ErrNotFound
}
