// Package quarters gives something that this process does for a while a
// directory of its own below the runtime directory. It is locked for as long as
// this process lives, so that what a killed one left is known and removed by
// the next that takes quarters. What is too large for that is Scratch. Nothing is
// removed that is not this user's own, across a mount or through a link.
package quarters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Kind is what the quarters are for.
type Kind struct {
	Prefix string // of the names of the directories, such as "plugin-"
	// Clear, where it is set, removes what else belongs to quarters whose
	// process was killed, before the directory is. What it cannot remove
	// stays, with the directory, for the next.
	Clear func(dir string) error
}

// Quarters are one such directory.
type Quarters struct {
	Dir  string
	lock *os.File
}

// Take makes a directory and removes those that nobody lives in.
func (k Kind) Take(runtime string) (*Quarters, error) {
	var err error
	for range 1000 {
		var q *Quarters
		if q, err = k.make(runtime); err == nil {
			return q, nil
		}
		// Other processes remove the runtime directory when it is empty, and
		// what they take for left by the dead.
		if !errors.Is(err, errInUse) && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
			break
		}
	}
	return nil, err
}

func (k Kind) make(runtime string) (*Quarters, error) {
	if err := os.MkdirAll(runtime, 0o700); err != nil {
		return nil, err
	}
	if err := private(runtime); err != nil {
		return nil, err
	}
	k.Sweep(runtime)
	dir, err := os.MkdirTemp(runtime, k.Prefix)
	if err != nil {
		return nil, err
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	return &Quarters{Dir: dir, lock: lock}, nil
}

// private refuses a directory in which others could put a socket.
func private(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return &sdk.Failure{
			Code:    sdk.CodeHostNotReady,
			Message: fmt.Sprintf("%s is not a directory that only its owner, this user, can write to", dir),
			Hint:    "remove it",
		}
	}
	return nil
}

var errInUse = errors.New("in use")

// lockDirectory locks dir, which must still be there.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errInUse
	}
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink == 0 {
		_ = f.Close()
		return nil, os.ErrNotExist
	}
	return f, nil
}

// Sweep removes the directories that killed processes left. That one cannot be
// removed is no reason not to go on.
func (k Kind) Sweep(runtime string) {
	k.left(runtime, func(dir string, lock *os.File) {
		if k.Clear != nil && k.Clear(dir) != nil {
			_ = lock.Close()
			return
		}
		_ = (&Quarters{Dir: dir, lock: lock}).Leave()
	})
}

// left hands each directory of the kind that nobody lives in, and its lock, to
// take.
func (k Kind) left(parent string, take func(dir string, lock *os.File)) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), k.Prefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		if lock, err := lockDirectory(dir); err == nil {
			take(dir, lock)
		}
	}
}

// Leave removes the directory, and the one above when nothing else is in it. A
// mount in it stays, and so does it.
//
//nolint:contextcheck // what was begun is removed, whoever has stopped waiting
func (q *Quarters) Leave() error {
	err := errors.Join(Remove(context.Background(), q.Dir), q.lock.Close())
	_ = os.Remove(filepath.Dir(q.Dir))
	return err
}
