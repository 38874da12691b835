package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// List returns every plugin that is there, in the order in which they are
// looked for. Each is described by itself or has an Err that says why it is not
// used.
func (h *Host) List(ctx context.Context) ([]Listing, error) {
	found, err := h.find()
	if err != nil {
		return nil, err
	}
	h.describe(ctx, found, func(*Listing) bool { return true })
	return found, ctx.Err()
}

// Examine verifies every plugin that is there, and starts none.
func (h *Host) Examine() ([]Listing, error) { return h.find() }

// Claims returns every plugin that is there, each with its distros. A plugin is
// started only where the lock does not say which these are.
func (h *Host) Claims(ctx context.Context) ([]Listing, error) {
	found, err := h.find()
	if err != nil {
		return nil, err
	}
	h.describe(ctx, found, func(l *Listing) bool { return l.distros == nil })
	return found, ctx.Err()
}

// Distros are those that the plugin itself says that it makes, or, where it
// could not be asked, that it said when it was installed.
func (l Listing) Distros() []string { return slices.Clone(l.distros) }

// ForDistro returns the one plugin that makes distro. An error that wraps
// ErrNoPlugin lists the distros that there are plugins for.
func (h *Host) ForDistro(ctx context.Context, distro string) (Listing, error) {
	found, err := h.find()
	if err != nil {
		return Listing{}, err
	}
	claims := func(l *Listing) bool { return l.distros == nil || slices.Contains(l.distros, distro) }
	h.describe(ctx, found, claims)
	if ctx.Err() != nil {
		return Listing{}, ctx.Err()
	}
	var matches []Listing
	var failed, faults []error
	for _, l := range found {
		switch {
		case l.Err != nil && l.Dev:
			return Listing{}, l.Err // it was named, and may be what makes it
		case l.Err == nil && slices.Contains(l.distros, distro):
			matches = append(matches, l)
		case l.Err != nil && (l.lockLost || slices.Contains(l.distros, distro)):
			failed = append(failed, l.Err) // when it was installed, it made it, or may have
		case l.Err != nil && !errors.Is(l.Err, errHidden):
			faults = append(faults, l.Err)
		}
	}
	switch matches = foremost(matches, distro); len(matches) {
	case 0:
		if len(failed) > 0 {
			return Listing{}, errors.Join(failed...)
		}
		return Listing{}, noPlugin(distro, found, faults)
	case 1:
		return matches[0], nil
	}
	e := &AmbiguousError{Distro: distro}
	for _, l := range matches {
		e.Paths = append(e.Paths, l.Path)
	}
	return Listing{}, e
}

// foremost are those of several plugins of a distro that it was given to: the
// one in development, or the one that was installed to take it from another.
func foremost(all []Listing, distro string) []Listing {
	for _, before := range []func(Listing) bool{
		func(l Listing) bool { return l.Dev },
		func(l Listing) bool { return slices.Contains(l.takes, distro) },
	} {
		var some []Listing
		for _, l := range all {
			if before(l) {
				some = append(some, l)
			}
		}
		if len(all) > 1 && len(some) > 0 {
			return some
		}
	}
	return all
}

// noPlugin says what there is instead, and which plugins could not be asked.
func noPlugin(distro string, found []Listing, faults []error) error {
	var known []string
	for _, l := range found {
		if l.Err == nil {
			known = append(known, l.distros...)
		}
	}
	slices.Sort(known)
	err := &NoPluginError{Distro: distro, Known: slices.Compact(known)}
	return errors.Join(append([]error{err}, faults...)...)
}

// NoPluginError is ErrNoPlugin about a distro, with those that there are plugins
// for.
type NoPluginError struct {
	Distro string
	Known  []string
}

func (e *NoPluginError) Error() string {
	list := strings.Join(e.Known, ", ")
	if list == "" {
		list = "none"
	}
	return fmt.Sprintf("distro %q: %v; there are plugins for: %s", e.Distro, ErrNoPlugin, list)
}

func (e *NoPluginError) Unwrap() error { return ErrNoPlugin }

// Names are those of the plugins in some directories, whatever they are. What
// cannot be read has none.
func Names(dirs []string) []string {
	var names []string
	for _, dir := range dirs {
		files, err := list(dir)
		if err != nil {
			continue
		}
		for _, file := range files {
			if name, ok := NameOf(file); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Distros are those that the lock files of some directories have plugins for:
// no plugin is run, and what cannot be read has none.
func Distros(dirs []string) []string {
	var distros []string
	for _, dir := range dirs {
		lock, err := ReadLock(dir)
		if err != nil {
			continue
		}
		for _, plugin := range lock.Plugins {
			distros = append(distros, plugin.Distros...)
		}
	}
	slices.Sort(distros)
	return slices.Compact(distros)
}

// errHidden is the cause that a plugin is not used for another of its name.
var errHidden = errors.New("a plugin of the same name comes first")

// Hidden reports whether a plugin is not used for nothing worse than that
// another of its name comes first.
func Hidden(err error) bool { return errors.Is(err, errHidden) }

// find verifies every plugin that is there.
func (h *Host) find() ([]Listing, error) {
	found := h.devListings()
	first := map[string]string{}
	for _, l := range found {
		first[l.Name] = l.Path
	}
	for _, dir := range h.Directories {
		names, err := list(dir)
		if err != nil {
			return nil, err
		}
		for _, file := range names {
			name, ok := NameOf(file)
			if !ok {
				continue
			}
			l := Listing{Name: name, Path: filepath.Join(dir, file)}
			if other, taken := first[name]; taken {
				l.Err = &RefusedError{Path: l.Path, Reason: other + " is used instead", Err: errHidden}
				found = append(found, l)
				continue
			}
			first[name] = l.Path
			b, err := h.verify(l.Path)
			if err != nil {
				l.Err = refusal(l.Path, err)
				l.distros, l.lockLost = h.onceSaid(l)
			} else {
				l.SHA256, l.Version, l.distros = b.sum, b.entry.Version, b.entry.Distros
				l.Pin, l.takes = b.entry.Pin, b.entry.Takes
				b.close()
			}
			found = append(found, l)
		}
	}
	return found, nil
}

// refusal makes one of whatever kept a file from being looked at.
func refusal(path string, err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return err
	}
	return &RefusedError{Path: path, Reason: "it cannot be looked at", Err: err}
}

// onceSaid are the distros that a plugin which is not used said that it makes
// when it was installed, so that it can be told to whom they matter. They are
// good for nothing else: others may have written them. lost says that there is
// a lock, and that it cannot be read.
func (h *Host) onceSaid(l Listing) (distros []string, lost bool) {
	path := h.lockPath(filepath.Dir(l.Path))
	lock, err := readUntrusted(path)
	if err != nil {
		return nil, !errors.Is(err, fs.ErrNotExist)
	}
	if entry := lock.Plugins[l.Name]; filepath.Join(filepath.Dir(path), entry.Path) == l.Path {
		return entry.Distros, false
	}
	return nil, false
}

// list returns the names in dir, sorted; none when it does not exist. Whether
// they are to be trusted is for verify to say.
func list(dir string) ([]string, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// describe asks all verified plugins that are wanted, at the same time.
func (h *Host) describe(ctx context.Context, found []Listing, wanted func(*Listing) bool) {
	var asking sync.WaitGroup
	for i := range found {
		l := &found[i]
		if l.Err != nil || !wanted(l) {
			continue
		}
		asking.Go(func() { l.Err = h.ask(ctx, l) })
	}
	asking.Wait()
}

// ask fills in a listing's description.
func (h *Host) ask(ctx context.Context, l *Listing) (err error) {
	session, err := h.Start(ctx, *l, Grants{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	l.Description = session.description
	l.distros = nil
	for _, d := range l.Description.Distros {
		l.distros = append(l.distros, d.Name)
	}
	return nil
}
