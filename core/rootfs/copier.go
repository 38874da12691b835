package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// deepest is how many directories below one another are copied. A path has no
// room for more; a tree that has them was made so on purpose.
const deepest = 2048

// copier copies one tree. It holds directories of both trees open all the way
// down to where it is: that one is moved meanwhile leads it nowhere.
type copier struct {
	mount       uint64   // that the source is on
	descriptors *os.File // /proc/self/fd
	work        *os.File // a directory in the clone for files that get several names
	shifted     bool
	leave       map[place]bool
	progress    func(uint64)

	buffers sync.Pool
	files   atomic.Uint64
	shared  atomic.Bool // a file was reflinked
	apart   atomic.Bool // no file of these file systems can be

	mu    sync.Mutex
	links map[linkKey]*link
}

func newCopier(t *Tree, source, target *os.File, o CloneOptions) (*copier, error) {
	at, err := where(source)
	if err != nil {
		return nil, err
	}
	c := &copier{mount: at.mount, leave: map[place]bool{}, links: map[linkKey]*link{}, progress: o.Progress}
	if c.shifted, err = isShifted(source); err != nil {
		return nil, err
	}
	if c.progress == nil {
		c.progress = func(uint64) {}
	}
	c.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	if err := t.places(o.Leave, c.leave); err != nil {
		return nil, err
	}
	// In the tree itself: on btrfs no link leads from one subvolume to another.
	work := temporary()
	if err := unix.Mkdirat(int(target.Fd()), work, 0o700); err != nil {
		return nil, err
	}
	if c.work, err = openAt(target, work, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		return nil, err
	}
	if c.descriptors, err = openDescriptors(); err != nil {
		return nil, errors.Join(err, c.work.Close())
	}
	return c, nil
}

// removeWork removes the directory in the clone that only the copying needs.
func (c *copier) removeWork(ctx context.Context, target *os.File) error {
	at, err := where(c.work)
	if err == nil {
		err = empty(ctx, c.work, at)
	}
	if err != nil {
		return err
	}
	return unix.Unlinkat(int(target.Fd()), c.work.Name(), unix.AT_REMOVEDIR)
}

func (c *copier) close() {
	c.work.Close()
	c.descriptors.Close()
}

// spot is a directory on the way down.
type spot struct {
	above *spot
	name  string
	depth int
}

// wrap says in which directory it was, by the end of its path if that is long.
func (s *spot) wrap(err error) error {
	const shown = 16
	if err == nil {
		return nil
	}
	path := ""
	for n := 0; s != nil && s.above != nil; n, s = n+1, s.above {
		if n == shown {
			path = "/..." + path
			break
		}
		path = "/" + s.name + path
	}
	return fmt.Errorf("in its directory %q: %w", path, err)
}

// directory copies what is in source to target, which stay open.
func (c *copier) directory(ctx context.Context, crew *crew, source, target *os.File, here *spot) error {
	if here.depth > deepest {
		return here.wrap(fmt.Errorf("it is more than %d directories below another", deepest))
	}
	subdirs, err := c.entries(ctx, source, target)
	if err != nil {
		return here.wrap(err)
	}
	var handed []errand
	for i, name := range subdirs {
		from, to, err := c.enter(source, target, name)
		if err != nil {
			return here.wrap(fmt.Errorf("enter %q: %w", name, err))
		}
		if from == nil {
			continue
		}
		below := func() error {
			at := &spot{here, name, here.depth + 1}
			err := c.directory(ctx, crew, from, to, at)
			if err == nil {
				err = at.wrap(c.finishDirectory(from, to))
			}
			return errors.Join(err, from.Close(), to.Close())
		}
		if i < len(subdirs)-1 { // else there is nothing left to do meanwhile
			if job, ok := crew.hand(name, below); ok {
				handed = append(handed, job)
				continue
			}
		}
		if err := below(); err != nil {
			return err
		}
	}
	for _, job := range handed {
		crew.wait(job)
	}
	return ctx.Err()
}

// entries copies all but the directories, and returns the names of those.
func (c *copier) entries(ctx context.Context, source, target *os.File) (subdirs []string, err error) {
	at, err := where(source)
	if err != nil || c.leave[at] {
		return nil, err
	}
	for {
		names, err := source.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return subdirs, nil
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			isDir, err := c.entry(source, target, name)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", name, err)
			}
			if isDir {
				subdirs = append(subdirs, name)
			}
		}
		c.progress(c.files.Add(uint64(len(names))))
	}
}

// enter opens a directory of the source and makes the one in the target. It
// returns nil when there is none any more.
func (c *copier) enter(source, target *os.File, name string) (from, to *os.File, err error) {
	from, _, err = openSameMount(source, name, c.mount)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, nil, ErrChanged
	case err != nil:
		return nil, nil, err
	}
	doNotTouch(from)
	if err = unix.Mkdirat(int(target.Fd()), name, 0o700); err == nil {
		to, err = openAt(target, name, unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if err != nil {
		return nil, nil, errors.Join(err, from.Close())
	}
	return from, to, nil
}

// doNotTouch keeps reading a directory from changing its time of access, where
// that can be had.
func doNotTouch(dir *os.File) {
	_, _ = unix.FcntlInt(dir.Fd(), unix.F_SETFL, unix.O_NOATIME) // it is no harm
}

// finishDirectory gives a directory that is filled what it has beside entries.
func (c *copier) finishDirectory(source, target *os.File) error {
	st, err := statx(source)
	if err != nil {
		return err
	}
	if err := c.dress(int(target.Fd()), int(source.Fd()), &st); err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(target.Fd()), ".", times(&st), 0)
}

// linkKey is a file of the source that has several names.
type linkKey struct {
	major, minor uint32
	ino          uint64
	btime        unix.StatxTimestamp // tells a new file from one of its number before
}

func keyOf(st *unix.Statx_t) linkKey {
	key := linkKey{major: st.Dev_major, minor: st.Dev_minor, ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		key.btime = st.Btime
	}
	return key
}

// link is that file in the clone, a name in the work directory, from when done is
// closed. So no descriptor has to stay open for it.
type link struct {
	name string
	done chan struct{}
	err  error
}

// linked makes the entry name of target by copyIt or, if the same file was made
// under another name before, as a link to that.
func (c *copier) linked(target int, name string, st *unix.Statx_t, copyIt func() error) error {
	key := keyOf(st)
	c.mu.Lock()
	l, known := c.links[key]
	if !known {
		l = &link{name: fmt.Sprint(len(c.links)), done: make(chan struct{})}
		c.links[key] = l
	}
	c.mu.Unlock()
	if known {
		<-l.done // it is being copied, and waits for nobody
		if l.err != nil {
			return l.err
		}
		return unix.Linkat(int(c.work.Fd()), l.name, target, name, 0)
	}
	defer close(l.done)
	if l.err = copyIt(); l.err == nil {
		l.err = unix.Linkat(target, name, int(c.work.Fd()), l.name, 0)
	}
	return l.err
}
