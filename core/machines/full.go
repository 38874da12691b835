package machines

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/readiness"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

// FullError says on which file system there was no room.
type FullError struct {
	Mount string // where it is mounted
	What  string // of what there is nothing left: "space", "inodes" or "quota"
	Err   error
	// Elsewhere says how to have it on another one; empty for a machine.
	Elsewhere string
}

func (e *FullError) Error() string {
	return fmt.Sprintf("no %s left on the file system %s: %v", e.What, e.Mount, e.Err)
}

// Unwrap returns what failed for it.
func (e *FullError) Unwrap() error { return e.Err }

// Hint is what to do.
func (e *FullError) Hint() string {
	flag := map[string]string{"inodes": "-i "}[e.What]
	elsewhere := e.Elsewhere
	if elsewhere == "" {
		elsewhere = "have trees elsewhere with --directory"
	}
	return fmt.Sprintf("make room there (df %s%s), or %s; then the same command again", flag, e.Mount, elsewhere)
}

// Full is full for a tree that is no machine's.
func (h *House) Full(tree string, err error) error { return h.full(tree, err) }

// full names the file system where an error of making the machine of that tree
// is about one without room. It is to be asked before anything is undone, which
// may make room.
func (h *House) full(tree string, err error) error {
	var known *FullError
	if err == nil || errors.As(err, &known) {
		return err
	}
	certain := atomicfile.IsFull(err)
	if !certain && !toldByTool(err) && !(room(filepath.Dir(tree)) < tooLittle && toldByMachine(err)) {
		return err
	}
	what := "space"
	if errors.Is(err, unix.EDQUOT) {
		what = "quota"
	}
	if path := pathOf(err); certain && path != "" {
		if what == "space" && noInodes(path) {
			what = "inodes"
		}
		return &FullError{Mount: mountOf(path), What: what, Err: err}
	}
	// A tool says no more than that: it is one of those that are written to,
	// and the one with the least room.
	place := filepath.Dir(tree)
	least := room(place)
	for _, other := range h.places() {
		if r := room(other); r < least {
			place, least = other, r
		}
	}
	if what == "space" && noInodes(place) {
		what = "inodes"
	}
	return &FullError{Mount: mountOf(place), What: what, Err: err}
}

var saysFull = regexp.MustCompile(`No space left on device|Disk quota exceeded`)

// toldByTool tells whether a plugin, or a tool that it ran, found no room.
func toldByTool(err error) bool {
	var failure *sdk.Failure
	return errors.As(err, &failure) && (saysFull.MatchString(failure.Message) || slices.ContainsFunc(failure.Tail, saysFull.MatchString))
}

// tooLittle is less than a machine needs to boot.
const tooLittle = 1 << 20

// toldByMachine tells whether it is the machine that did not come up. It says
// nothing of its disk, or where nobody reads it.
func toldByMachine(err error) bool {
	var notReady *readiness.Error
	return errors.As(err, &notReady)
}

// treeOf is where the tree of the machine is that stages are about; this
// program's own place where they are about none.
func treeOf(order []pipeline.Stage) string {
	for _, s := range order {
		if b, ok := s.(*stages.Bootstrap); ok {
			return b.Record.Machine().Tree.Path
		}
	}
	return StateDir
}

// places are where this program, and the tools that it runs, write.
func (h *House) places() []string {
	return []string{h.Store.StateDir, CacheDir, h.Store.RuntimeDir, "/etc", os.TempDir(), "/var/tmp"}
}

// pathOf is the file that the kernel spoke of.
func pathOf(err error) string {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &file) && filepath.IsAbs(file.Path):
		return file.Path
	case errors.As(err, &link) && filepath.IsAbs(link.New):
		return link.New
	}
	return ""
}

// room is how much can be written to the file system at a path, in bytes.
func room(path string) uint64 {
	var s unix.Statfs_t
	if unix.Statfs(existing(path), &s) != nil || s.Blocks == 0 {
		return math.MaxUint64
	}
	if s.Files > 0 && s.Ffree == 0 {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}

// noInodes tells whether it is names, and not bytes, that there is no room for.
func noInodes(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(existing(path), &s) == nil && s.Files > 0 && s.Ffree == 0
}

// existing is the path, or what of it is there.
func existing(path string) string {
	for path != "/" {
		if _, err := os.Lstat(path); err == nil {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}

// mountOf is where the file system of a path is mounted.
func mountOf(path string) string {
	path = existing(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path))
	if err != nil {
		return path
	}
	at := "/"
	for _, m := range mounts {
		if len(m.Mountpoint) >= len(at) && strings.HasPrefix(path, m.Mountpoint) {
			at = m.Mountpoint
		}
	}
	return at
}
