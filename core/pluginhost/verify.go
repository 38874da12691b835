package pluginhost

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// NameOf is the NAME of a file called nspawn-build-plugin-NAME.
func NameOf(file string) (name string, ok bool) {
	name, ok = strings.CutPrefix(file, sdk.BinaryPrefix)
	return name, ok && sdk.IsPluginName(name)
}

// FileOf is what the file of a plugin is called.
func FileOf(name string) string { return sdk.BinaryPrefix + name }

// maxBinary is the size that no plugin has.
const maxBinary = 1 << 30

// binary is a plugin that may be run: an open file whose content is vouched for.
type binary struct {
	file  *os.File
	sum   string
	stamp stamp
	entry Entry
}

// stamp changes when a file's content does: nothing but the kernel sets a ctime.
type stamp struct {
	Device        uint64
	Inode         uint64
	Size          int64
	CtimeSec      int64
	CtimeNanosecs int64
}

func stampOf(f *os.File) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return stamp{}, err
	}
	//nolint:unconvert // the types differ between architectures
	return stamp{uint64(st.Dev), st.Ino, st.Size, int64(st.Ctim.Sec), int64(st.Ctim.Nsec)}, nil
}

func (b *binary) close() { _ = b.file.Close() }

// open opens the program of a listing, which the caller closes.
func (h *Host) open(l Listing) (*binary, error) {
	if l.Dev {
		return h.verifyDev(l.Path)
	}
	return h.verify(l.Path)
}

// verify opens the plugin at path and makes sure that it is the one that was
// installed. The caller closes it.
func (h *Host) verify(path string) (*binary, error) {
	dir := filepath.Dir(path)
	trusted := ownersOf(dir)
	f, err := trusted.openBinary(path)
	if err != nil {
		return nil, err
	}
	b, err := h.vouched(f, path, dir, trusted)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return b, nil
}

// openBinary opens the file at path for reading.
func (o owners) openBinary(path string) (*os.File, error) {
	handle, err := o.open(path)
	if err != nil {
		return nil, err
	}
	defer handle.Close() //nolint:errcheck // only a handle
	var st unix.Stat_t
	if err := unix.Fstat(int(handle.Fd()), &st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, &RefusedError{Path: path, Reason: "it is not a regular file"}
	case o.check(&st) != "":
		return nil, refuseMode(path, "it "+o.check(&st))
	case st.Mode&0o100 == 0:
		return nil, &RefusedError{Path: path, Reason: "it is not executable", Hint: "chmod 755 " + path}
	case st.Size > maxBinary:
		return nil, &RefusedError{Path: path, Reason: fmt.Sprintf("%d bytes are too many", st.Size)}
	}
	return os.Open(reference(handle))
}

// vouched compares an open binary with the lock file.
func (h *Host) vouched(f *os.File, path, dir string, trusted owners) (*binary, error) {
	lockPath := h.lockPath(dir)
	if h.Lock != "" {
		trusted = owners{0}
	}
	lock, err := readLock(lockPath, trusted)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &RefusedError{
			Path: path, Reason: "there is no " + lockPath + " that vouches for it",
			Hint: "if you trust it: nspawn-build plugin install " + path,
		}
	}
	if err != nil {
		return nil, err
	}
	name, _ := NameOf(filepath.Base(path))
	entry, ok := lock.Plugins[name]
	if !ok || filepath.Join(filepath.Dir(lockPath), entry.Path) != path {
		return nil, &RefusedError{
			Path: path, Reason: lockPath + " does not list it",
			Hint: "if you trust it: nspawn-build plugin install " + path,
		}
	}
	before, err := stampOf(f)
	if err != nil {
		return nil, err
	}
	sum, err := h.sum(f, before)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	entry, ok = entry.of(sum)
	if !ok {
		return nil, &RefusedError{
			Path: path, Reason: "it is not the file that was installed: its sha256 is not the one in " + lockPath,
			Hint: "find out who changed it; to use it all the same: nspawn-build plugin install " + path,
		}
	}
	if err := rightMachine(f, path); err != nil {
		return nil, err
	}
	return &binary{file: f, sum: sum, stamp: before, entry: entry}, nil
}

// sum is the hash of a file. Within this process a file that has not changed is
// read once: a machine takes several sessions of the same plugin.
func (h *Host) sum(f *os.File, now stamp) (string, error) {
	if sum, ok := h.sums.Load(now); ok {
		if known, ok := sum.(string); ok {
			return known, nil
		}
	}
	sum, err := hash(f)
	if err != nil {
		return "", err
	}
	after, err := stampOf(f)
	if err != nil {
		return "", err
	}
	// A ctime is only as fine as the kernel's tick. One that is younger than a
	// few of them might stay the same through another change.
	if after == now && time.Since(time.Unix(now.CtimeSec, now.CtimeNanosecs)) > time.Second {
		h.sums.Store(now, sum)
	}
	return sum, nil
}

// hash returns the SHA-256 of a file's content in hexadecimal digits.
func hash(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, maxBinary)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// machines is how an ELF file names the architectures that Go runs on.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64,
	"loong64": elf.EM_LOONGARCH, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

// Architecture is what Go calls the machine that an ELF file is for; "" when it
// does not run there.
func Architecture(m elf.Machine) string {
	for arch, machine := range machines {
		if machine == m {
			return arch
		}
	}
	return ""
}

// KnownArchitecture tells whether Go runs on an architecture that is called so.
func KnownArchitecture(arch string) bool { _, known := machines[arch]; return known }

// rightMachine refuses a program for another architecture. What is not an ELF
// file is left to the kernel, which runs scripts too.
func rightMachine(f *os.File, path string) error {
	file, err := elf.NewFile(f)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	native, known := machines[runtime.GOARCH]
	if !known || file.Machine == native || runtime.GOARCH == "amd64" && file.Machine == elf.EM_386 {
		return nil
	}
	return &RefusedError{
		Path: path,
		Reason: fmt.Sprintf("it is built for %s, and this machine is %s",
			strings.ToLower(strings.TrimPrefix(file.Machine.String(), "EM_")),
			strings.ToLower(strings.TrimPrefix(native.String(), "EM_"))),
		Hint: "install a plugin that is built for this machine",
	}
}
