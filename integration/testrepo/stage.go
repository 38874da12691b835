package testrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// stage unpacks every package into a directory of its name below dir and makes
// of it what the distribution would have there. No script of Debian is run.
func stage(ctx context.Context, dir, distribution string, t *tables, packs []*pack) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, p := range packs {
		group.Go(func() error {
			if err := stageOne(ctx, filepath.Join(dir, p.Package), distribution, t, p); err != nil {
				return fmt.Errorf("stage %s: %w", p.Package, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, p := range packs {
		if p.From == "" {
			continue
		}
		if err := split(filepath.Join(dir, p.From), filepath.Join(dir, p.Package), p.Take); err != nil {
			return fmt.Errorf("split %s off: %w", p.Package, err)
		}
	}
	return noConflicts(dir, packs)
}

func stageOne(ctx context.Context, root, distribution string, t *tables, p *pack) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, d := range p.debs {
		if _, err := (tool{}).run(ctx, "dpkg-deb", "--extract", d.path, root); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		func() error { return keepOnly(root, p.Only) },
		func() error { return prune(root, t.prune) },
		func() error { return mergeSbin(root) },
		func() error { return p.adapt(root) },
		func() error { return t.overlay(distribution, root, p) },
		func() error { return normalise(root) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if slices.Contains(p.Files, "skeleton") {
		return nil
	}
	return removeEmpty(root)
}

// keepOnly removes the top-level entries that are not named, if any is.
func keepOnly(root string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// prune removes the paths that match.
func prune(root string, paths *regexp.Regexp) error {
	return walk(root, func(path, rel string, _ fs.DirEntry) error {
		if !paths.MatchString(rel) {
			return nil
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return errGone
	})
}

// errGone is returned for a path that is no more; what was below it is passed over.
var errGone = errors.New("removed")

// walk visits everything below root, parents first, by its relative path.
func walk(root string, visit func(path, rel string, e fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		err = visit(path, rel, e)
		if errors.Is(err, errGone) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return err
	})
}

// mergeSbin moves what is in usr/sbin to usr/bin: both Arch and Fedora have
// one directory for both. What is there already stays.
func mergeSbin(root string) error {
	sbin, bin := filepath.Join(root, "usr/sbin"), filepath.Join(root, "usr/bin")
	entries, err := os.ReadDir(sbin)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(bin, e.Name())
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if err := os.Rename(filepath.Join(sbin, e.Name()), to); err != nil {
			return err
		}
	}
	return os.RemoveAll(sbin)
}

// adapt does what the package's rule asks for.
func (p *pack) adapt(root string) error {
	for _, pattern := range p.Remove {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	for pair := range slices.Chunk(p.Copy, 2) {
		text, err := os.ReadFile(filepath.Join(root, pair[0]))
		if err != nil {
			return err
		}
		if err := (entry{path: pair[1], text: string(text), mode: 0o644}).put(root); err != nil {
			return err
		}
	}
	for three := range slices.Chunk(p.Substitute, 3) {
		path := filepath.Join(root, three[0])
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := strings.ReplaceAll(string(text), three[1], three[2])
		if changed == string(text) {
			return fmt.Errorf("%s does not contain %q", three[0], three[1])
		}
		if err := os.WriteFile(path, []byte(changed), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// normalise gives everything to root. Debian's few programs with a group of
// their own lose its privilege, save the one that checks passwords: that is
// setuid elsewhere.
func normalise(root string) error {
	return walk(root, func(path, rel string, e fs.DirEntry) error {
		info, err := e.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || stat.Uid == 0 && stat.Gid == 0 {
			return nil
		}
		if err := os.Lchown(path, 0, 0); err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode.IsRegular():
			keep := mode.Perm() | mode&(os.ModeSetuid|os.ModeSticky)
			if mode&os.ModeSetgid != 0 && strings.Contains(rel, "chkpwd") {
				keep |= os.ModeSetuid
			}
			return os.Chmod(path, keep)
		case mode.IsDir():
			return os.Chmod(path, mode.Perm()|mode&os.ModeSticky)
		}
		return nil
	})
}

// emptied are the directories that go when pruning has emptied them.
var emptied = regexp.MustCompile(`^usr/(share|lib)(/|$)|^etc/(init|default|alternatives)$|^etc$|^usr$|^var(/lib|/log|/cache)?$`)

func removeEmpty(root string) error {
	var dirs []string
	if err := walk(root, func(_, rel string, e fs.DirEntry) error {
		if e.IsDir() && emptied.MatchString(rel) {
			dirs = append(dirs, rel)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) { // children first
		err := os.Remove(filepath.Join(root, dir))
		if err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

// split moves the files that match from one package's tree to another's.
func split(from, to string, paths *regexp.Regexp) error {
	return walk(from, func(path, rel string, e fs.DirEntry) error {
		if e.IsDir() || !paths.MatchString(rel) {
			return nil
		}
		target := filepath.Join(to, rel)
		return errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.Rename(path, target))
	})
}

// noConflicts refuses a file that two packages have: either tool would.
func noConflicts(dir string, packs []*pack) error {
	owner := map[string]string{}
	var all []error
	for _, p := range packs {
		err := walk(filepath.Join(dir, p.Package), func(_, rel string, e fs.DirEntry) error {
			if other, ok := owner[rel]; ok && !e.IsDir() {
				all = append(all, fmt.Errorf("both %s and %s have %s", other, p.Package, rel))
			}
			if !e.IsDir() && !strings.HasPrefix(rel, ".") {
				owner[rel] = p.Package
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(all...)
}

// size is that of a tree's files, in bytes.
func size(root string) (int64, error) {
	var n int64
	err := walk(root, func(_, _ string, e fs.DirEntry) error {
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			n += info.Size()
		}
		return err
	})
	return n, err
}
