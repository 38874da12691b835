package stages

import (
	"context"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Settings writes the machine's .nspawn file, and makes the tree known under
// /var/lib/machines where it is kept elsewhere.
type Settings struct {
	Record         *store.Record
	Files          *hostfile.Files
	Exclusive      Exclusive
	SystemdVersion int
}

// Name is "settings".
func (*Settings) Name() string { return NameSettings }

func nspawnPath(name string) string { return filepath.Join(dirNspawn, name+".nspawn") }

func linkPath(name string) string { return filepath.Join(dirMachines, name) }

// Check compares both with what is wanted.
func (s *Settings) Check(context.Context) ([]pipeline.Change, error) {
	m := s.Record.Machine()
	var changes []pipeline.Change
	content, err := s.render(m)
	if err != nil {
		return nil, err
	}
	same, err := s.Files.Same(nspawnPath(m.Name), content, s.ours)
	if err != nil {
		return nil, err
	}
	if !same {
		changes = append(changes, pipeline.Change{Action: "create", Subject: nspawnPath(m.Name)})
	}
	if m.Tree.Path == linkPath(m.Name) {
		return changes, nil
	}
	linked, err := s.Files.Linked(m.Tree.Path, linkPath(m.Name))
	if err != nil {
		return nil, err
	}
	if !linked {
		changes = append(changes, pipeline.Change{Action: "create", Subject: linkPath(m.Name), Detail: "link to " + m.Tree.Path})
	}
	return changes, nil
}

func (s *Settings) ours(content []byte) bool {
	return unitfile.Made(content, s.Record.Machine().Name)
}

func (s *Settings) render(m store.Machine) ([]byte, error) {
	return unitfile.Nspawn{Machine: m.Name, SystemdVersion: s.SystemdVersion}.Render()
}

// Apply writes both.
func (s *Settings) Apply(ctx context.Context) error {
	m := s.Record.Machine()
	content, err := s.render(m)
	if err != nil {
		return err
	}
	return s.Exclusive(ctx, func() error {
		if err := s.Files.Write(nspawnPath(m.Name), content, 0o644, s.ours); err != nil {
			return err
		}
		if m.Tree.Path == linkPath(m.Name) {
			return nil
		}
		return s.Files.Link(m.Tree.Path, linkPath(m.Name))
	})
}

// Undo removes both; what is not ours stays.
func (s *Settings) Undo(ctx context.Context) error {
	m := s.Record.Machine()
	return s.Exclusive(ctx, func() error {
		if err := unlessForeign(s.Files.Remove(nspawnPath(m.Name), s.ours)); err != nil {
			return err
		}
		if m.Tree.Path == linkPath(m.Name) {
			return nil
		}
		return s.Files.Unlink(m.Tree.Path, linkPath(m.Name))
	})
}
