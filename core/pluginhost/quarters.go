package pluginhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

const quartersPrefix = "plugin-"

// quarters is the directory of one session, for its sockets. It is locked for
// as long as this process lives, so that what a killed one left is known.
type quarters struct {
	dir  string
	lock *os.File
}

// longest is the longest path that a socket in the quarters may come to have
// after the runtime directory, and maxSocket what the kernel takes.
const (
	longest   = len("/plugin-1234567890/plugin-dir1234567890/plugin1234567890")
	maxSocket = 107
)

// takeQuarters makes a directory and removes those that nobody lives in.
func takeQuarters(runtime string) (*quarters, error) {
	if !filepath.IsAbs(runtime) || len(runtime)+longest > maxSocket {
		return nil, fmt.Errorf("runtime directory %q is not an absolute path of at most %d characters", runtime, maxSocket-longest)
	}
	var err error
	for range 1000 {
		var q *quarters
		if q, err = makeQuarters(runtime); err == nil {
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

func makeQuarters(runtime string) (*quarters, error) {
	if err := os.MkdirAll(runtime, 0o700); err != nil {
		return nil, err
	}
	if err := private(runtime); err != nil {
		return nil, err
	}
	sweep(runtime)
	dir, err := os.MkdirTemp(runtime, quartersPrefix)
	if err != nil {
		return nil, err
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	return &quarters{dir: dir, lock: lock}, nil
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

// Sweep removes what sessions of killed processes left in the runtime
// directory, and the directory itself when nothing else is in it. What cannot
// be removed stays for the next sweep.
func (h *Host) Sweep() {
	sweep(h.RuntimeDir)
	_ = os.Remove(h.RuntimeDir)
}

// sweep removes the directories that killed processes left. That one cannot be
// removed is no reason not to go on.
func sweep(runtime string) {
	entries, err := os.ReadDir(runtime)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), quartersPrefix) {
			continue
		}
		left := filepath.Join(runtime, e.Name())
		if lock, err := lockDirectory(left); err == nil {
			_ = (&quarters{dir: left, lock: lock}).leave()
		}
	}
}

// leave removes the directory, and the one above when nothing else is in it.
func (q *quarters) leave() error {
	err := errors.Join(os.RemoveAll(q.dir), q.lock.Close())
	_ = os.Remove(filepath.Dir(q.dir))
	return err
}
