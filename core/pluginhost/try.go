package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Try has a program that is not installed describe itself, enclosed like every
// plugin and with nothing that it may write to. It is in no directory
// meanwhile: what is run is a copy in memory that cannot change, and that is
// gone with this process. The caller vouches for it. origin is for messages.
func (h *Host) Try(ctx context.Context, name, origin string, content []byte) (_ sdk.Description, err error) {
	if err := asRoot(); err != nil {
		return sdk.Description{}, err
	}
	f, err := sealed(FileOf(name), content)
	if err != nil {
		return sdk.Description{}, err
	}
	b, err := h.unlocked(f, origin)
	if err != nil {
		return sdk.Description{}, errors.Join(err, f.Close())
	}
	defer b.close()
	session, err := h.begin(ctx, Listing{Name: name, Path: origin}, b, Grants{}, nil)
	if err != nil {
		return sdk.Description{}, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	return session.description, nil
}

// sealed is a file in memory that nobody can change any more.
func sealed(name string, content []byte) (*os.File, error) {
	const exec = 0x10 // MFD_EXEC, since Linux 6.3
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|exec)
	if err == unix.EINVAL { //nolint:errorlint // a plain errno
		fd, err = unix.MemfdCreate(name, flags)
	}
	if errors.Is(err, unix.EACCES) {
		return nil, &sdk.Failure{
			Code: sdk.CodeHostNotReady, Message: "this host runs no program from memory, as a plugin is that is not installed yet", Err: err,
			Hint: "allow it meanwhile: sysctl vm.memfd_noexec=1",
		}
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() //nolint:errcheck // what is read from is another
	if _, err := f.Write(content); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o500); err != nil {
		return nil, err
	}
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, all); err != nil {
		return nil, fmt.Errorf("sealing it: %w", err)
	}
	// What is open for writing cannot be run.
	return os.Open(reference(f))
}
