package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// directories finds trees that others than root can come near.
func (e *exam) directories(context.Context) []Finding {
	const id = "host.exposed"
	var found []Finding
	for _, dir := range e.treeDirectories() {
		bad := machines.Exposed(dir)
		if bad == nil {
			found = append(found, ok(id, "nobody but root comes near the trees in "+dir))
			continue
		}
		const why = "a program that is setuid root in a machine would be so for whoever runs it on the host"
		f := fault(id, dir+" "+bad.Problem, why, bad.Mend)
		if len(e.needs(func(m store.Machine) bool { return filepath.Dir(m.Tree.Path) == dir })) == 0 {
			f.Severity, f.area = Warning, nowhere // there is nothing to run yet
		}
		if made, err := e.House.Files.Noted(dir); err == nil && made && bad.Mend == "chmod 700 "+dir {
			fix := f.Fix
			f = f.fixable(func(context.Context) error { return private(dir) })
			f.Fix = fix
		}
		found = append(found, f)
	}
	return found
}

// private makes a directory that was made by us root's alone again.
func private(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	d := os.NewFile(uintptr(fd), dir)
	defer d.Close()
	return d.Chmod(0o700)
}

// What a file system must have free: a machine takes 300 MB to 1 GB.
const (
	littleSpace = 1 << 30
	noSpace     = 256 << 20
	fewInodes   = 50_000
)

// disk looks at the space where trees, downloads and records are kept.
func (e *exam) disk(context.Context) []Finding {
	const id = "host.disk"
	var found []Finding
	seen := map[unix.Fsid]bool{}
	for _, dir := range slices.Concat(e.treeDirectories(), []string{machines.CacheDir, machines.StateDir}) {
		place := dir
		var st unix.Statfs_t
		err := unix.Statfs(place, &st)
		for errors.Is(err, fs.ErrNotExist) && place != "/" {
			place = filepath.Dir(place)
			err = unix.Statfs(place, &st)
		}
		if err != nil {
			found = append(found, untold(id, fmt.Errorf("%s: %w", dir, err)))
			continue
		}
		if seen[st.Fsid] {
			continue
		}
		seen[st.Fsid] = true
		found = append(found, space(id, dir, st))
	}
	return found
}

func space(id, dir string, st unix.Statfs_t) Finding {
	free := st.Bavail * uint64(st.Bsize)
	const why, clean = "a machine takes 300 MB to 1 GB", "rm -rf " + machines.CacheDir + "/packages"
	what := fmt.Sprintf("%d MB are free in %s", free>>20, dir)
	switch {
	case free < noSpace:
		return fault(id, "only "+what, why, clean)
	case free < littleSpace:
		return warning(id, "only "+what, why, clean)
	case st.Files > 0 && st.Ffree < fewInodes:
		return warning(id, fmt.Sprintf("only %d files can still be made in %s", st.Ffree, dir), "a machine is 10 000 to 30 000 files", clean)
	}
	return ok(id, what)
}
