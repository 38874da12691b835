package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

const idOrphan = "host.orphan"

// orphans are what runs that were killed, or people, left of machines that are
// on record no more.
func (e *exam) orphans(ctx context.Context) []Finding {
	if e.broken != nil {
		// Whose things are whose cannot be told now.
		return one(fault("host.records", oneLine(e.broken), "a machine whose record cannot be read can be neither started nor destroyed; the file is to be mended by hand or removed", ""))
	}
	found := one(ok("host.records", fmt.Sprintf("%d machines are on record", len(e.machines))))
	for _, look := range []func(context.Context) []Finding{
		e.journals, e.stagings, e.hostFiles, e.links, e.imageLinks, e.runtime, e.tables, e.groups, e.unitSettings,
	} {
		found = append(found, look(ctx)...)
	}
	if len(found) == 1 {
		found = append(found, ok(idOrphan, "nothing is left of machines that are gone"))
	}
	return found
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// known tells whether a machine is on record.
func (e *exam) known(name string) bool {
	return slices.ContainsFunc(e.machines, func(m store.Machine) bool { return m.Name == name })
}

// orphan is a leaving of ours that --fix removes. It is removed only while
// nobody is making a machine of that name.
func (e *exam) orphan(what, name string, remove func(ctx context.Context) error) Finding {
	f := warning(idOrphan, what, "it is left of a machine that is gone, and in the way of the next one of that name", "")
	return f.fixable(func(ctx context.Context) error {
		return e.unclaimed(name, func() error { return remove(ctx) })
	})
}

// unclaimed runs f while it is sure that no machine of that name is made, and
// that none is there.
func (e *exam) unclaimed(name string, f func() error) (err error) {
	lock, err := e.House.Store.Lock(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if _, err := e.House.Store.Load(name); !errors.Is(err, store.ErrNoMachine) {
		return errors.Join(fmt.Errorf("machine %s is on record by now", name), err)
	}
	return f()
}

func (e *exam) journals(context.Context) []Finding {
	var found []Finding
	files, _ := filepath.Glob(filepath.Join(e.House.Store.StateDir, "journal", "*.jsonl")) // the pattern is good
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".jsonl")
		if !e.known(name) {
			found = append(found, e.orphan("the journal "+path+" has no machine", name, func(ctx context.Context) error {
				return e.House.Exclusive(ctx, func() error { return e.House.Store.Forget(name) })
			}))
		}
	}
	return found
}

// stagingForm is how the hidden directory is called in which a tree is made.
var stagingForm = regexp.MustCompile(`^\.nspawn-build-([A-Za-z0-9.-]{1,64})-[A-Z2-7]{26}$`)

// stagings are trees that were never finished. They are root's, in a directory
// that is root's, under a name that only this program gives.
func (e *exam) stagings(context.Context) []Finding {
	var found []Finding
	for _, dir := range e.treeDirectories() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there is none yet
		}
		for _, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			form := stagingForm.FindStringSubmatch(entry.Name())
			if form == nil || !entry.IsDir() || len(e.needs(func(m store.Machine) bool { return m.Tree.Staging == path })) > 0 {
				continue
			}
			id, err := rootsOwn(path)
			if err != nil {
				continue
			}
			found = append(found, e.orphan("the unfinished tree "+path+" has no machine", form[1], func(ctx context.Context) error {
				return rootfs.RemoveTree(ctx, path, id)
			}))
		}
	}
	return found
}

// rootsOwn identifies a directory that is root's alone.
func rootsOwn(path string) (rootfs.Identity, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return rootfs.Identity{}, err
	}
	if st.Uid != 0 || st.Mode&0o077 != 0 {
		return rootfs.Identity{}, errors.New("not root's alone")
	}
	tree, err := rootfs.Open(path)
	if err != nil {
		return rootfs.Identity{}, err
	}
	id, err := tree.Identity()
	return id, errors.Join(err, tree.Close())
}

// generated are where files of ours are written for one machine each.
var generated = []string{
	"/etc/systemd/network/*.network", "/etc/systemd/nspawn/*.nspawn",
	"/etc/systemd/system/systemd-nspawn@*.service.d/*.conf", "/etc/systemd/system/nspawn-build-link@*.service",
	"/etc/systemd/resolved.conf.d/*.conf",
}

// shared are the files that name all machines.
var shared = []string{"/etc/ssh/ssh_config.d/50-nspawn-build.conf", unitfile.KnownHostsPath}

// hostFiles are files of ours, by their first line, for machines that are gone.
func (e *exam) hostFiles(context.Context) []Finding {
	var found []Finding
	look := func(path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			return
		}
		owner, ours := unitfile.Owner(data)
		all := owner == "" && slices.Contains(shared, path) && len(e.machines) == 0
		if !ours || !all && (owner == "" || e.known(owner)) {
			return
		}
		remove := func(ctx context.Context) error {
			return e.House.Exclusive(ctx, func() error {
				return errors.Join(
					e.House.Files.Remove(path, func(c []byte) bool { return unitfile.Made(c, owner) }),
					e.reload(ctx, path),
				)
			})
		}
		if owner == "" {
			f := warning(idOrphan, path+" is left and there are no machines", "ssh would trust the keys of machines that are gone", "")
			found = append(found, f.fixable(remove))
			return
		}
		found = append(found, e.orphan(path+" has no machine", owner, remove))
	}
	for _, pattern := range generated {
		files, _ := filepath.Glob(pattern) // the patterns are good
		for _, path := range files {
			look(path)
		}
	}
	for _, path := range shared {
		look(path)
	}
	return found
}

// reload has the service read its files again whose file was removed.
func (e *exam) reload(ctx context.Context, path string) (err error) {
	if !e.House.Host.Systemd {
		return nil
	}
	bus, err := host.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	switch {
	case strings.HasSuffix(path, ".network"):
		if active, err := bus.UnitActive(ctx, networkdUnit); err != nil || !active {
			return err
		}
		return bus.ReloadNetwork(ctx)
	case strings.Contains(path, "resolved.conf.d"):
		return bus.ReloadResolver(ctx)
	case strings.HasPrefix(path, "/etc/systemd/system/"):
		return bus.ReloadUnits(ctx)
	}
	return nil
}

// imageLinks are links under /var/lib/machines that lead nowhere. Whether one
// was ours is not to be known without a record.
func (e *exam) imageLinks(context.Context) []Finding {
	const dir = "/var/lib/machines"
	var found []Finding
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.Type() != os.ModeSymlink || e.known(entry.Name()) {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			to, err := os.Readlink(path)
			if err != nil {
				continue
			}
			found = append(found, warning("host.stale-link", path+" leads to "+to+", which is not there",
				"machinectl shows a machine that cannot start, and create refuses the name", "rm "+quote(path)))
		}
	}
	return found
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote makes one word for a shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// runtime is what the direct driver keeps of running machines.
func (e *exam) runtime(context.Context) []Finding {
	dir := filepath.Join(machines.RuntimeDir, "machines")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // there is none
	}
	var found []Finding
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(dir, entry.Name())
		if !entry.IsDir() || strings.HasPrefix(name, ".") || e.known(name) || held(filepath.Join(path, "supervisor.lock")) {
			continue
		}
		found = append(found, e.orphan(path+" has no machine", name, func(context.Context) error {
			if held(filepath.Join(path, "supervisor.lock")) {
				return errors.New("a machine runs there")
			}
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			_ = os.Remove(dir) // unless something else is in it
			return nil
		}))
	}
	return found
}

// held tells whether a process holds the lock at path.
func held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}
