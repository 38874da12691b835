package customize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Copy puts a file or tree of the host into a tree. Everything belongs to the
// tree's root and keeps its permissions, but no setuid or setgid bit. A
// directory that is there is merged into, a file is replaced, and one is never
// put in place of the other. Doing it again changes nothing.
func Copy(ctx context.Context, tree *rootfs.Tree, c spec.Copy) error {
	to := strings.Trim(c.Target, "/")
	if strings.HasSuffix(c.Target, "/") {
		to = path.Join(to, path.Base(c.Source))
	}
	err := walk(c.Source, func(e entry) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return put(tree, path.Join(to, e.name), e)
	})
	if err != nil {
		return fmt.Errorf("copying %s to %s: %w", c.Source, c.Target, err)
	}
	return nil
}

func put(tree *rootfs.Tree, name string, e entry) error {
	if name == "." {
		if e.kind != "directory" {
			return errors.New("the root of a tree is a directory")
		}
		return nil
	}
	// Directories may be reached through the tree's own links: /lib is one.
	info, err := tree.Stat(name)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if there && info.IsDir() != (e.kind == "directory") {
		return fmt.Errorf("/%s is there and is %s", name, map[bool]string{true: "a directory", false: "no directory"}[info.IsDir()])
	}
	switch e.kind {
	case "directory":
		return tree.MkdirAll(name, e.mode)
	case "link":
		return tree.Symlink(e.target, name)
	}
	return tree.WriteFrom(name, e.content, e.mode)
}
