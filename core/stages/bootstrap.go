package stages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Bootstrap has the distribution's plugin fill a hidden directory beside the
// tree's place, takes out of it what must not be shared between machines, and
// moves it into place whole.
type Bootstrap struct {
	Record    *store.Record
	Files     *hostfile.Files
	Exclusive Exclusive
	Request   sdk.Request // without the directories
	Cache     string      // for the plugin's downloads
	Plugin    func(ctx context.Context, req sdk.Request, report sdk.Reporter) (sdk.Facts, error)
	Tell      pipeline.Observer
}

// Name is "bootstrap".
func (*Bootstrap) Name() string { return NameBootstrap }

// Check is empty when the tree that we made is in its place.
func (b *Bootstrap) Check(context.Context) ([]pipeline.Change, error) {
	t := b.Record.Machine().Tree
	there, err := b.identify(t.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case there == (rootfs.Identity{}):
	case t.Root == (rootfs.Identity{}) || there != t.Root:
		return nil, fmt.Errorf("%s exists and %w", t.Path, hostfile.ErrForeign)
	case t.Staging == "":
		return nil, nil
	}
	detail := b.Request.Distro + " " + b.Request.Release
	return []pipeline.Change{{Action: "create", Subject: t.Path, Detail: detail}}, nil
}

// identify returns the identity of what is at path; zero when nothing is.
func (b *Bootstrap) identify(path string) (rootfs.Identity, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return rootfs.Identity{}, nil
	}
	tree, err := rootfs.Open(path)
	if err != nil {
		return rootfs.Identity{}, fmt.Errorf("%s is in the way: %w", path, err)
	}
	id, err := tree.Identity()
	return id, errors.Join(err, tree.Close())
}

// Apply makes the tree, unless a run that was cut off had published it already.
func (b *Bootstrap) Apply(ctx context.Context) error {
	t := b.Record.Machine().Tree
	if there, err := b.identify(t.Path); err != nil {
		return err
	} else if there != (rootfs.Identity{}) && there == t.Root {
		return b.tidy(ctx)
	}
	if err := b.tidy(ctx); err != nil {
		return err
	}
	staging, err := b.stage(ctx)
	if err != nil {
		return err
	}
	facts, err := b.fill(ctx, staging)
	if err != nil {
		return err
	}
	if err := b.Record.Update(func(m *store.Machine) { m.Facts = &facts }); err != nil {
		return err
	}
	b.Tell(pipeline.Event{Stage: b.Name(), Kind: pipeline.Progress, Text: "publish"})
	if err := rootfs.Publish(filepath.Join(staging, "root"), t.Path); err != nil {
		return fmt.Errorf("moving the tree to %s: %w", t.Path, err)
	}
	return b.tidy(ctx)
}

// stage makes the hidden directory with the empty root in it. Its random name
// is on record before it is made, its identity before it is filled.
func (b *Bootstrap) stage(ctx context.Context) (string, error) {
	m := b.Record.Machine()
	parent := filepath.Dir(m.Tree.Path)
	err := b.Exclusive(ctx, func() error { return b.Files.MakeDirectory(parent, 0o700) })
	if err != nil {
		return "", fmt.Errorf("making %s: %w", parent, err)
	}
	staging := filepath.Join(parent, ".nspawn-build-"+m.Name+"-"+rand.Text())
	err = b.Record.Update(func(m *store.Machine) { m.Tree.Staging, m.Facts = staging, nil })
	if err != nil {
		return "", err
	}
	root := filepath.Join(staging, "root")
	for _, dir := range []struct {
		path string
		mode fs.FileMode
	}{{staging, 0o700}, {root, 0o755}, {filepath.Join(staging, "work"), 0o700}} {
		if err := os.Mkdir(dir.path, dir.mode); err != nil {
			return "", err
		}
		if err := os.Chmod(dir.path, dir.mode); err != nil {
			return "", err
		}
	}
	stagingID, err := b.identify(staging)
	if err != nil {
		return "", err
	}
	rootID, err := b.identify(root)
	if err != nil {
		return "", err
	}
	return staging, b.Record.Update(func(m *store.Machine) { m.Tree.StagingID, m.Tree.Root = stagingID, rootID })
}

func (b *Bootstrap) fill(ctx context.Context, staging string) (sdk.Facts, error) {
	req := b.Request
	req.Target = filepath.Join(staging, "root")
	req.WorkDirectory = filepath.Join(staging, "work")
	req.CacheDirectory = b.Cache
	// Downloads are public, and tools read them as users of their own.
	if err := os.MkdirAll(b.Cache, 0o755); err != nil { //nolint:gosec // see above
		return sdk.Facts{}, err
	}
	facts, err := b.Plugin(ctx, req, reporter{b.Name(), b.Tell})
	if err != nil {
		return sdk.Facts{}, err
	}
	if err := checkFacts(facts); err != nil {
		return sdk.Facts{}, err
	}
	tree, err := rootfs.Open(req.Target)
	if err != nil {
		return sdk.Facts{}, err
	}
	return facts, errors.Join(resetIdentity(tree), tree.Close())
}

var unitForm = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,200}\.(service|socket|target|mount|timer|path)$`)

// checkFacts refuses facts that could lead out of the tree or that leave
// nothing to log in to.
func checkFacts(f sdk.Facts) error {
	for _, units := range [][]string{f.SSHUnits, f.NetworkUnits, f.ResolverUnits, f.MaskUnits} {
		for _, u := range units {
			if !unitForm.MatchString(u) {
				return fmt.Errorf("the plugin reported %q, which is not the name of a unit", u)
			}
		}
	}
	if len(f.SSHUnits) == 0 {
		return errors.New("the plugin reported no unit for sshd")
	}
	return nil
}

// tidy removes the hidden directory and forgets it.
func (b *Bootstrap) tidy(ctx context.Context) error {
	t := b.Record.Machine().Tree
	if t.Staging == "" {
		return nil
	}
	there, err := b.identify(t.Path)
	published := err == nil && there != (rootfs.Identity{}) && there == t.Root
	if err := b.remove(ctx, t.Staging, t.StagingID); err != nil {
		return err
	}
	return b.Record.Update(func(m *store.Machine) {
		m.Tree.Staging, m.Tree.StagingID = "", rootfs.Identity{}
		if !published { // it went with the hidden directory
			m.Tree.Root = rootfs.Identity{}
		}
	})
}

// remove removes a directory of ours. One whose identity did not make it into
// the record was never filled: then it is removed only if it is empty.
func (b *Bootstrap) remove(ctx context.Context, path string, id rootfs.Identity) error {
	if id != (rootfs.Identity{}) {
		return rootfs.RemoveTree(ctx, path, id)
	}
	for _, dir := range []string{filepath.Join(path, "work"), filepath.Join(path, "root"), path} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Undo removes the tree, wherever it is, and the directory that was made for it.
func (b *Bootstrap) Undo(ctx context.Context) error {
	if err := b.tidy(ctx); err != nil {
		return err
	}
	t := b.Record.Machine().Tree
	if t.Root != (rootfs.Identity{}) {
		if err := rootfs.RemoveTree(ctx, t.Path, t.Root); err != nil {
			return err
		}
		if err := b.Record.Update(func(m *store.Machine) { m.Tree.Root = rootfs.Identity{} }); err != nil {
			return err
		}
	}
	if err := removeImageLock(t.Path); err != nil {
		return err
	}
	return b.Exclusive(ctx, func() error { return b.Files.Prune(filepath.Dir(t.Path)) })
}

// removeImageLock removes the empty file by which systemd-nspawn locks a tree,
// and which it leaves beside it when it is killed.
func removeImageLock(tree string) error {
	path := filepath.Join(filepath.Dir(tree), ".#"+filepath.Base(tree)+".lck")
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > 0) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// reporter turns a plugin's reports into events of the pipeline.
type reporter struct {
	stage string
	tell  pipeline.Observer
}

func (r reporter) Phase(name string) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Progress, Text: name})
}

func (r reporter) Progress(p sdk.Progress) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Progress, Done: p.Done, Total: p.Total, Item: p.Item})
}

func (r reporter) Line(text string) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Line, Text: text})
}

func (r reporter) Warning(message, hint string) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Warning, Text: message, Hint: hint})
}

// resetIdentity takes out of a tree what must differ between machines, or
// would betray the host that made it.
func resetIdentity(tree *rootfs.Tree) error {
	// The word makes the next boot a first one, so that services which make
	// something once do it; see machine-id(5).
	if err := tree.WriteFile("etc/machine-id", []byte("uninitialized\n"), 0o444); err != nil {
		return err
	}
	gone := []string{
		"var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
		"etc/hostname", "root/.ssh/authorized_keys",
	}
	keys, err := tree.Glob("etc/ssh", "ssh_host_*")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, k := range keys {
		gone = append(gone, "etc/ssh/"+filepath.Base(k))
	}
	slices.Sort(gone)
	for _, name := range gone {
		if err := tree.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", name, err)
		}
	}
	return nil
}
