package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/quarters"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Comparison is in what two images differ.
type Comparison struct {
	Same bool `json:"same"`
	A    Side `json:"a"`
	B    Side `json:"b"`
	// Tools are the programs that made both and have other versions; where there is
	// a manifest of both. That alone is no difference of what is in the images.
	Tools    []ToolChange    `json:"tools,omitempty"`
	Packages []PackageChange `json:"packages"`
	Files    []FileChange    `json:"files"`
}

// Side is one of the two.
type Side struct {
	Path     string       `json:"path"`
	Format   image.Format `json:"format"`
	Packages int          `json:"packages"`
	// PackagesFrom is where the list of packages is from: "manifest", "tree",
	// or empty where there is none.
	PackagesFrom string `json:"packagesFrom,omitempty"`
	Files        int    `json:"files"`
	Bytes        int64  `json:"bytes"` // of all files together
}

// ToolChange is a program, and its versions.
type ToolChange struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// PackageChange is a package that is not the same in both; an empty side does
// not have it.
type PackageChange struct {
	Name   string `json:"name"`
	Arch   string `json:"arch,omitempty"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// FileChange is an entry of the tree that is not the same in both. A side that
// does not have it is nil.
type FileChange struct {
	Path   string   `json:"path"`
	What   []string `json:"what"` // "added", "removed", or what of it differs
	Before *Item    `json:"before,omitempty"`
	After  *Item    `json:"after,omitempty"`
}

// Item is what is compared of an entry.
type Item struct {
	Type   string `json:"type"`
	Mode   string `json:"mode"`  // octal
	Owner  string `json:"owner"` // UID:GID
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of a file's content
	Target string `json:"target,omitempty"` // of a link, and the name of a file's other name
	Xattrs string `json:"xattrs,omitempty"` // their digest
	Time   string `json:"time,omitempty"`   // only where times are compared
}

// Compare compares two images, each with what is in it.
func Compare(ctx context.Context, a, b string, times bool) (Comparison, error) {
	c := Comparison{Packages: []PackageChange{}, Files: []FileChange{}}
	before, had, by, err := look(ctx, a, times, &c.A)
	if err != nil {
		return c, err
	}
	after, has, now, err := look(ctx, b, times, &c.B)
	if err != nil {
		return c, err
	}
	c.Packages = append(c.Packages, packageChanges(had, has)...)
	c.Tools = toolChanges(by, now)
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		x, inA := before[name]
		y, inB := after[name]
		switch {
		case !inB:
			c.Files = append(c.Files, FileChange{"/" + name, []string{"removed"}, &x, nil})
		case !inA:
			c.Files = append(c.Files, FileChange{"/" + name, []string{"added"}, nil, &y})
		case x != y:
			c.Files = append(c.Files, FileChange{"/" + name, x.differs(y), &x, &y})
		}
	}
	c.Same = len(c.Packages) == 0 && len(c.Files) == 0
	return c, nil
}

func (i Item) differs(o Item) []string {
	var what []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"type", i.Type == o.Type},
		{"mode", i.Mode == o.Mode},
		{"owner", i.Owner == o.Owner},
		{"size", i.Size == o.Size},
		{"content", i.SHA256 == o.SHA256},
		{"target", i.Target == o.Target},
		{"xattrs", i.Xattrs == o.Xattrs},
		{"time", i.Time == o.Time},
	} {
		if !f.same {
			what = append(what, f.name)
		}
	}
	return what
}

// look reads one image.
func look(ctx context.Context, path string, times bool, side *Side) (items map[string]Item, packages []sdk.Package, tools []Maker, err error) {
	side.Path = path
	if side.Format, err = image.FormatOf(path); err != nil {
		return nil, nil, nil, err
	}
	root := path
	if side.Format != image.Directory {
		scratch, err := quarters.Kind{Prefix: "nspawn-build-diff-"}.Scratch(ctx, "/var/tmp")
		if err != nil {
			return nil, nil, nil, err
		}
		defer func() { err = errors.Join(err, scratch.Leave(context.WithoutCancel(ctx))) }()
		root = filepath.Join(scratch.Dir, "root")
		if err := image.Unpack(ctx, path, side.Format, root); err != nil {
			return nil, nil, nil, err
		}
	}
	tree, err := rootfs.Open(root)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	if items, err = itemsOf(ctx, tree, times, side); err != nil {
		return nil, nil, nil, err
	}
	m, err := ReadManifest(path)
	if err == nil {
		side.Packages, side.PackagesFrom = len(m.Packages), "manifest"
		return items, unlisted(m.Packages), m.makers(), nil
	}
	if !errors.Is(err, ErrNoManifest) {
		return nil, nil, nil, err
	}
	packages, known, err := installed(tree)
	if known {
		side.Packages, side.PackagesFrom = len(packages), "tree"
	}
	return items, packages, nil, err
}

func itemsOf(ctx context.Context, tree *rootfs.Tree, times bool, side *Side) (map[string]Item, error) {
	items := map[string]Item{}
	err := tree.Visit(ctx, nil, func(e rootfs.Entry) error {
		i := Item{
			Type: typeOf(e), Mode: fmt.Sprintf("%04o", e.Mode), Owner: fmt.Sprintf("%d:%d", e.UID, e.GID), Target: e.Target,
		}
		if e.First != "" {
			i.Target = e.First
		}
		if e.Content != nil {
			sum := sha256.New()
			if _, err := io.Copy(sum, e.Content); err != nil {
				return err
			}
			i.SHA256 = hex.EncodeToString(sum.Sum(nil))
		}
		if e.Kind == rootfs.File {
			i.Size = e.Size
			if e.First == "" {
				side.Bytes += e.Size
			}
		}
		if len(e.Xattrs) > 0 {
			sum := sha256.New()
			for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
				fmt.Fprintf(sum, "%q=%q\n", name, e.Xattrs[name])
			}
			i.Xattrs = hex.EncodeToString(sum.Sum(nil))
		}
		if times {
			i.Time = e.ModTime.UTC().Format(time.RFC3339)
		}
		items[strings.TrimPrefix(e.Name, "./")] = i
		return nil
	})
	side.Files = len(items)
	return items, err
}

func typeOf(e rootfs.Entry) string {
	switch e.Kind {
	case rootfs.Directory:
		return "directory"
	case rootfs.File:
		return "file"
	case rootfs.Symlink:
		return "link"
	}
	return fmt.Sprintf("special %d %d:%d", e.Kind, e.Major, e.Minor)
}

func packageChanges(before, after []sdk.Package) []PackageChange {
	versions := func(all []sdk.Package) map[[2]string]string {
		out := map[[2]string]string{}
		for _, p := range all {
			key := [2]string{p.Name, p.Architecture}
			if out[key] != "" { // several versions, of a kernel say
				out[key] += " "
			}
			out[key] += p.Version
		}
		return out
	}
	a, b := versions(before), versions(after)
	var changes []PackageChange
	for key, version := range a {
		if b[key] != version {
			changes = append(changes, PackageChange{key[0], key[1], version, b[key]})
		}
	}
	for key, version := range b {
		if _, had := a[key]; !had {
			changes = append(changes, PackageChange{key[0], key[1], "", version})
		}
	}
	slices.SortFunc(changes, func(x, y PackageChange) int { return strings.Compare(x.Name+" "+x.Arch, y.Name+" "+y.Arch) })
	return changes
}
