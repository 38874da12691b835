package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// errMoved says that a directory was moved while it was being emptied.
var errMoved = errors.New("a directory was moved while it was being removed")

// How often a tree that somebody else changes is begun anew, and how many of
// its directories may turn out not to be empty. More than that is no race but
// a fault, such as a file of NFS that is still open.
const (
	restarts = 100
	refills  = 1000
)

// removeHidden empties tree, the entry hidden of parent, and removes it.
func removeHidden(ctx context.Context, parent *os.File, hidden string, tree *os.File) error {
	top, err := where(tree)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := empty(ctx, tree, top)
		if err == nil {
			err = unlinkAt(parent, hidden, unix.AT_REMOVEDIR)
		}
		again := errors.Is(err, errMoved) || errors.Is(err, unix.ENOTEMPTY)
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, unix.EBUSY):
			return fmt.Errorf("%w: at its root", ErrMounted)
		case !again || try == restarts:
			return err
		}
	}
}

// walker is inside one directory of a tree, with just that one open: the way
// back is "..", and counts only if it leads where the walker came from. So a
// tree of any depth takes a few descriptors, and no move of a directory can
// lead the walker out of it.
type walker struct {
	crew *crew
	dir  *os.File
	path []level // from where it began to dir

	refilled int // directories that were not empty after they had been emptied
}

// level is a directory on the way.
type level struct {
	name    string // in the level above; of the first, its path
	at      place
	scanned bool
	subdirs []string // still to be emptied
	handed  []errand // being emptied by others
}

// walk empties dir, which stays open.
func walk(ctx context.Context, crew *crew, dir *os.File, at level) error {
	own, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	w := &walker{crew: crew, dir: own, path: []level{at}}
	defer func() { w.dir.Close() }()
	for {
		done, err := w.step(ctx)
		if err != nil {
			return fmt.Errorf("in its directory %q: %w", w.where(), err)
		}
		if done {
			return nil
		}
	}
}

// step does what is next in the directory where the walker is.
func (w *walker) step(ctx context.Context) (done bool, err error) {
	here := &w.path[len(w.path)-1]
	switch last := len(here.subdirs) - 1; {
	case !here.scanned:
		here.scanned = true
		here.subdirs, err = w.unlinkFiles(ctx)
		return false, err
	case last >= 0:
		name := here.subdirs[last]
		here.subdirs = here.subdirs[:last]
		return false, w.down(ctx, name)
	case len(here.handed) > 0:
		first := here.handed[0]
		here.handed = here.handed[1:]
		w.crew.wait(first)
		if err := ctx.Err(); err != nil {
			return false, err
		}
		return false, w.rmdir(first.name)
	case len(w.path) > 1:
		return false, w.up()
	}
	return true, nil
}

// unlinkFiles removes all but the directories from w.dir and returns those.
// It asks nobody for the type of an entry: unlink knows, and cannot be raced.
func (w *walker) unlinkFiles(ctx context.Context) (subdirs []string, err error) {
	for {
		names, err := w.dir.Readdirnames(1024)
		if errors.Is(err, io.EOF) {
			return subdirs, nil
		}
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, name := range names {
			err := unlinkAt(w.dir, name, 0)
			switch {
			case err == nil || errors.Is(err, fs.ErrNotExist):
			case errors.Is(err, unix.EISDIR):
				subdirs = append(subdirs, name)
			case errors.Is(err, unix.EBUSY):
				return nil, fmt.Errorf("%w: %q", ErrMounted, name)
			default:
				return nil, fmt.Errorf("unlink %q: %w", name, err)
			}
		}
	}
}

// down enters a directory, or hands it to another walker that has nothing to
// do. That it is none any more is no error: what is in its place will keep the
// one above from being removed, which is then scanned again.
func (w *walker) down(ctx context.Context, name string) error {
	child, at, err := openSameMount(w.dir, name, w.path[0].at.mount)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("enter %q: %w", name, err)
	}
	here := &w.path[len(w.path)-1]
	if len(here.subdirs) > 0 { // else there is nothing left to do meanwhile
		begin := level{name: w.where() + "/" + name, at: at}
		if job, ok := w.crew.hand(name, func() error {
			defer child.Close()
			return walk(ctx, w.crew, child, begin)
		}); ok {
			here.handed = append(here.handed, job)
			return nil
		}
	}
	w.dir.Close()
	w.dir = child
	w.path = append(w.path, level{name: name, at: at})
	return nil
}

// up leaves a directory and removes it.
func (w *walker) up() error {
	above := &w.path[len(w.path)-2]
	parent, err := openAt(w.dir, "..", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	at, err := where(parent)
	if err == nil && at != above.at {
		err = errMoved
	}
	if err != nil {
		return errors.Join(err, parent.Close())
	}
	w.dir.Close()
	w.dir = parent
	name := w.path[len(w.path)-1].name
	w.path = w.path[:len(w.path)-1]
	return w.rmdir(name)
}

// rmdir removes an emptied directory. If there is something in it again, it
// is put back on the list.
func (w *walker) rmdir(name string) error {
	here := &w.path[len(w.path)-1]
	err := unlinkAt(w.dir, name, unix.AT_REMOVEDIR)
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %q", ErrMounted, name)
	case w.refilled == refills:
		return fmt.Errorf("remove directory %q: %w", name, err)
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTDIR):
		w.refilled++
		here.subdirs = append(here.subdirs, name)
		return nil
	}
	return fmt.Errorf("remove directory %q: %w", name, err)
}

// where is the path below the top, for messages: the end of it if it is long.
func (w *walker) where() string {
	const shown = 16
	var path strings.Builder
	path.WriteString(w.path[0].name)
	levels := w.path[1:]
	if len(levels) > shown {
		path.WriteString("/...")
		levels = levels[len(levels)-shown:]
	}
	for _, l := range levels {
		path.WriteString("/" + l.name)
	}
	return path.String()
}
