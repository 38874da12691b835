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
// tree of any depth takes two descriptors, and no move of a directory can lead
// the walker out of it.
type walker struct {
	dir  *os.File
	path []level // from the top to dir

	refilled int // directories that were not empty after they had been emptied
}

// level is a directory on the way.
type level struct {
	name    string // in the level above
	at      place
	scanned bool
	subdirs []string // still to be emptied
}

// empty removes everything in top.
func empty(ctx context.Context, top *os.File, at place) error {
	dir, err := openAt(top, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	w := &walker{dir: dir, path: []level{{at: at}}}
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
		return false, w.down(name)
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

// down enters a directory. That it is none any more is no error: what is in
// its place will keep the one above from being removed, which scans it again.
func (w *walker) down(name string) error {
	child, at, err := openSameMount(w.dir, name, w.path[0].at.mount)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("enter %q: %w", name, err)
	}
	w.dir.Close()
	w.dir = child
	w.path = append(w.path, level{name: name, at: at})
	return nil
}

// up leaves a directory and removes it. If there is something in it again, it
// is put back on the list.
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
	err = unlinkAt(w.dir, name, unix.AT_REMOVEDIR)
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case (errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)) && w.refilled < refills:
		w.refilled++
		above.subdirs = append(above.subdirs, name)
		return nil
	case errors.Is(err, unix.ENOTDIR) && w.refilled < refills: // swapped for something else
		w.refilled++
		above.scanned = false
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %q", ErrMounted, name)
	}
	return fmt.Errorf("remove directory %q: %w", name, err)
}

// where is the path below the top, for messages: the end of it if it is long.
func (w *walker) where() string {
	const shown = 16
	var path strings.Builder
	levels := w.path[1:]
	if len(levels) > shown {
		path.WriteString("...")
		levels = levels[len(levels)-shown:]
	}
	for _, l := range levels {
		path.WriteString("/" + l.name)
	}
	return path.String()
}
