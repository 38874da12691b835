package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// surroundings are what there was before something was done: what is there
// afterwards and was not, is left of it.
type surroundings struct {
	grants    Grants
	processes map[int]string
	mounts    map[string]string
}

func look(s Session, grants Grants) (*surroundings, error) {
	processes, err := s.Processes()
	if err != nil {
		return nil, err
	}
	mounts, err := s.Mounts()
	return &surroundings{grants, processes, mounts}, err
}

// left lists everything that is left: processes, mounts and files.
func (b *surroundings) left(ctx context.Context, s Session) ([]string, error) {
	all, err := b.leftAlive(ctx, s)
	return append(all, b.leftFiles()...), err
}

// leftAlive lists what is left but for files, which a job leaves on purpose.
func (b *surroundings) leftAlive(ctx context.Context, s Session) ([]string, error) {
	processes, err := b.leftRunning(ctx, s)
	if err != nil {
		return nil, err
	}
	mounts, err := b.leftMounted(s)
	return slices.Concat(processes, mounts), err
}

// settling is how long what is about to end may take.
const settling = 2 * time.Second

// leftRunning lists the processes that are left, when those that end by
// themselves have.
func (b *surroundings) leftRunning(ctx context.Context, s Session) ([]string, error) {
	for begun := time.Now(); ; {
		now, err := s.Processes()
		if err != nil {
			return nil, err
		}
		var all []string
		for _, pid := range slices.Sorted(maps.Keys(now)) {
			if _, before := b.processes[pid]; !before {
				all = append(all, fmt.Sprintf("process %d is left: %s", pid, sdk.Clean(now[pid], 200)))
			}
		}
		if len(all) == 0 || time.Since(begun) > settling {
			return all, nil
		}
		select {
		case <-ctx.Done():
			return all, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// leftMounted lists the mounts that are left.
func (b *surroundings) leftMounted(s Session) ([]string, error) {
	now, err := s.Mounts()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, at := range slices.Sorted(maps.Keys(now)) {
		if _, before := b.mounts[at]; !before {
			all = append(all, "a mount is left on "+b.shown(at))
		}
	}
	return all, nil
}

// strayed lists what is where nothing was granted: files beside the directories,
// and mounts of the host's that were made writable.
func (b *surroundings) strayed(s Session) ([]string, error) {
	now, err := s.Mounts()
	if err != nil {
		return nil, err
	}
	all := b.leftBeside()
	for _, at := range slices.Sorted(maps.Keys(now)) {
		if mode, before := b.mounts[at]; before && mode != now[at] {
			all = append(all, fmt.Sprintf("%s was mounted %s and is %s", at, mode, now[at]))
		}
	}
	return all, nil
}

// leftFiles lists what is in the directories, and what is beside them.
func (b *surroundings) leftFiles() []string {
	var all []string
	for name, dir := range map[string]string{"target": b.grants.Target, "cache directory": b.grants.CacheDirectory, "work directory": b.grants.WorkDirectory} {
		entries, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			all = append(all, "the "+name+" is gone")
		case len(entries) > 0:
			all = append(all, fmt.Sprintf("%q is left in the %s", entries[0].Name(), name))
		}
	}
	slices.Sort(all)
	return append(all, b.leftBeside()...)
}

// leftBeside lists what there is beside the directories.
func (b *surroundings) leftBeside() (all []string) {
	entries, _ := os.ReadDir(filepath.Dir(b.grants.Target))
	for _, entry := range entries {
		switch filepath.Join(filepath.Dir(b.grants.Target), entry.Name()) {
		case b.grants.Target, b.grants.CacheDirectory, b.grants.WorkDirectory:
		default:
			all = append(all, fmt.Sprintf("%q was made beside the target", entry.Name()))
		}
	}
	return all
}

// shown is a path as the plugin's author knows it.
func (b *surroundings) shown(path string) string {
	if rest, ok := strings.CutPrefix(path, b.grants.Target); ok && (rest == "" || rest[0] == '/') {
		return "TARGET" + rest
	}
	return path
}

// readable are the files of a request that have to stay visible.
func (e *exam) readable() []string { return sdk.FilesOf(e.Request) }

// asking are the grants of a session in which no tree is made.
func (e *exam) asking() Grants { return Grants{Readable: e.readable()} }
