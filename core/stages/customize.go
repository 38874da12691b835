package stages

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Customize copies files into a tree that was just bootstrapped and runs
// programs in it, and runs hooks around other stages. A machine that is
// complete is its user's: nothing of it is done again.
type Customize struct {
	Record *store.Record
	// LogDir is where the output of what runs is kept, and Runtime the
	// program's directory in /run.
	LogDir, Runtime string
	Tell            pipeline.Observer
	Epoch           int64 // SOURCE_DATE_EPOCH for what runs; 0 leaves it out
	// Going says that the machine goes and its log with it. That of one that
	// could not be made stays to be read.
	Going bool
}

// Name is "customize".
func (*Customize) Name() string { return NameCustomize }

// CustomizeLog is where the output of what runs in a machine's tree is.
func CustomizeLog(dir, name string) string { return filepath.Join(dir, name+".customize.log") }

// of is what is to be done; nothing when it was done, and for a clone, whose
// origin had it done.
func (c *Customize) of() spec.Customize {
	m := c.Record.Machine()
	if m.Complete || m.Clone != nil {
		return spec.Customize{}
	}
	return m.Spec.Customize
}

// Check lists copies and scripts that are still to be done.
func (c *Customize) Check(context.Context) ([]pipeline.Change, error) {
	if c.Record.Machine().Customized.Done {
		return nil, nil
	}
	var changes []pipeline.Change
	for _, one := range c.of().Copies {
		changes = append(changes, pipeline.Change{Action: "create", Subject: one.Target, Detail: "copy of " + one.Source})
	}
	for _, s := range c.of().Scripts {
		changes = append(changes, pipeline.Change{Action: "run", Subject: s, Detail: "in the tree"})
	}
	return changes, nil
}

// Apply does it. A script that was cut off runs again from its beginning.
func (c *Customize) Apply(ctx context.Context) error {
	m := c.Record.Machine()
	err := withTree(c.Record, func(tree *rootfs.Tree) error {
		for _, one := range m.Spec.Customize.Copies {
			c.say("copy " + one.Source)
			if err := customize.Copy(ctx, tree, one); err != nil {
				return err
			}
		}
		return tree.Sync()
	})
	if err != nil {
		return err
	}
	for i := m.Customized.Scripts; i < len(m.Spec.Customize.Scripts); i++ {
		script := m.Spec.Customize.Scripts[i]
		c.say("run " + script)
		err := c.in(NameCustomize, func(r *customize.Room) error { return r.Script(ctx, script) })
		if err != nil {
			return err
		}
		if err := c.Record.Update(func(m *store.Machine) { m.Customized.Scripts = i + 1 }); err != nil {
			return err
		}
	}
	return c.Record.Update(func(m *store.Machine) { m.Customized.Done = true })
}

// Undo ends what may still run in the tree. What it did to the tree goes with
// that.
func (c *Customize) Undo(ctx context.Context) error {
	m := c.Record.Machine()
	if m.Spec.Customize.IsZero() || m.Clone != nil {
		return nil
	}
	if !m.Complete { // else a program of ours runs there no more
		if err := customize.Sweep(ctx, m.Tree.Path, c.Runtime); err != nil {
			return err
		}
	}
	if !c.Going || !m.Customized.Logged {
		return nil
	}
	if err := os.Remove(CustomizeLog(c.LogDir, m.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = os.Remove(c.LogDir) // what is not empty stays
	return nil
}

func (c *Customize) say(text string) {
	c.Tell(pipeline.Event{Stage: NameCustomize, Kind: pipeline.Progress, Text: text})
}

// in runs f with the room of the machine's tree.
func (c *Customize) in(stage string, f func(*customize.Room) error) error {
	m := c.Record.Machine()
	log := CustomizeLog(c.LogDir, m.Name)
	if !m.Customized.Logged {
		if err := customize.OpenLog(log); err != nil {
			return err
		}
		if err := c.Record.Update(func(m *store.Machine) { m.Customized.Logged = true }); err != nil {
			return err
		}
	}
	// Whoever has put another tree there since is not let at this one.
	if err := withTree(c.Record, func(*rootfs.Tree) error { return nil }); err != nil {
		return err
	}
	return f(&customize.Room{
		Name: m.Name, Tree: m.Tree.Path, Log: log, Runtime: c.Runtime, Network: m.Spec.Customize.Network, Epoch: c.Epoch,
		Line: func(line string) { c.Tell(pipeline.Event{Stage: stage, Kind: pipeline.Line, Text: line}) },
	})
}

// Hooked has the hooks of a stage run before and after it.
func (c *Customize) Hooked(s pipeline.Stage) pipeline.Stage {
	if c == nil || !slices.ContainsFunc(c.of().Hooks, func(h spec.Hook) bool { return h.Stage == s.Name() }) {
		return s
	}
	return hooked{s, c}
}

// hooked is a stage with hooks, of which those that ran are on record.
type hooked struct {
	pipeline.Stage
	custom *Customize
}

// left are the hooks at a point that have not run, by their places.
func (h hooked) left(point spec.HookPoint) []int {
	return slices.DeleteFunc(h.custom.of().Own(point, h.Name()), func(i int) bool {
		return slices.Contains(h.custom.Record.Machine().Customized.Hooks, i)
	})
}

// Check lists the hooks that have not run beside what the stage would change.
func (h hooked) Check(ctx context.Context) ([]pipeline.Change, error) {
	own, err := h.Stage.Check(ctx)
	if err != nil {
		return nil, err
	}
	hooks := func(point spec.HookPoint) []pipeline.Change {
		var all []pipeline.Change
		for _, i := range h.left(point) {
			all = append(all, pipeline.Change{Action: "run", Subject: h.custom.of().Hooks[i].Command, Detail: "hook " + string(point) + " " + h.Name()})
		}
		return all
	}
	return slices.Concat(hooks(spec.HookBefore), own, hooks(spec.HookAfter)), nil
}

// Apply runs the hooks before, the stage if it has something to change, and
// the hooks after.
func (h hooked) Apply(ctx context.Context) error {
	if err := h.run(ctx, spec.HookBefore); err != nil {
		return err
	}
	changes, err := h.Stage.Check(ctx)
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		if err := h.Stage.Apply(ctx); err != nil {
			return err
		}
	}
	return h.run(ctx, spec.HookAfter)
}

func (h hooked) run(ctx context.Context, point spec.HookPoint) error {
	for _, i := range h.left(point) {
		command := h.custom.of().Hooks[i].Command
		h.custom.Tell(pipeline.Event{Stage: h.Name(), Kind: pipeline.Progress, Text: "hook " + string(point)})
		err := h.custom.in(h.Name(), func(r *customize.Room) error { return r.Command(ctx, command) })
		if err != nil {
			return err
		}
		err = h.custom.Record.Update(func(m *store.Machine) {
			m.Customized.Hooks = append(slices.Clone(m.Customized.Hooks), i)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Undo is that of the stage: what hooks did to the tree goes with it.
func (h hooked) Undo(ctx context.Context) error {
	if u, ok := h.Stage.(pipeline.Undoer); ok {
		return u.Undo(ctx)
	}
	return nil
}
