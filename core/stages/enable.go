package stages

import (
	"context"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Enable has the host boot the machine whenever it boots itself: what
// `machinectl enable` does. It comes last, so that the host never boots a
// machine that was not proven to work.
type Enable struct {
	Record    *store.Record
	Files     *hostfile.Files
	Exclusive Exclusive
	// Units are those of the host's service manager; nil where none boots the
	// machine.
	Units UnitFiles
}

// UnitFiles says what the host starts when it boots.
type UnitFiles interface {
	Enabled(ctx context.Context, unit string) (bool, error)
	Enable(ctx context.Context, units ...string) error
	Disable(ctx context.Context, unit string) error
	// Wants tells whether a target pulls anything in.
	Wants(target string) (bool, error)
}

// targetMachines is the target that the units of machines are enabled for. It
// is of no use unless it is enabled itself.
const targetMachines = "machines.target"

// targetLink stands for our having enabled it, in the list of what was made.
var targetLink = filepath.Join(dirUnits, "multi-user.target.wants", targetMachines)

// Name is "enable".
func (*Enable) Name() string { return NameEnable }

func unit(name string) string { return "systemd-nspawn@" + name + ".service" }

// Check is empty when the host boots the machine, or is not to.
func (e *Enable) Check(ctx context.Context) ([]pipeline.Change, error) {
	m := e.Record.Machine()
	if !m.Spec.Enable || e.Units == nil {
		return nil, nil
	}
	for _, u := range []string{unit(m.Name), targetMachines} {
		on, err := e.Units.Enabled(ctx, u)
		if err != nil {
			return nil, err
		}
		if !on {
			return []pipeline.Change{{Action: "enable", Subject: unit(m.Name), Detail: "this host boots it when it boots itself"}}, nil
		}
	}
	return nil, nil
}

// On reports whether the host boots the machine, whoever wished so.
func (e *Enable) On(ctx context.Context) (bool, error) {
	if e.Units == nil {
		return false, nil
	}
	return e.Units.Enabled(ctx, unit(e.Record.Machine().Name))
}

// Apply enables the machine's unit and the target that pulls it in.
func (e *Enable) Apply(ctx context.Context) error {
	return e.Exclusive(ctx, func() error {
		on, err := e.Units.Enabled(ctx, targetMachines)
		if err != nil {
			return err
		}
		if !on {
			if err := e.Files.Note(targetLink); err != nil {
				return err
			}
		}
		return e.Units.Enable(ctx, unit(e.Record.Machine().Name), targetMachines)
	})
}

// Undo disables the unit, whoever enabled it: without the machine it could only
// fail. The target goes with the last machine, if it was enabled for one.
func (e *Enable) Undo(ctx context.Context) error {
	if e.Units == nil {
		return nil
	}
	return e.Exclusive(ctx, func() error {
		on, err := e.On(ctx)
		if err == nil && on {
			err = e.Units.Disable(ctx, unit(e.Record.Machine().Name))
		}
		if err != nil {
			return err
		}
		noted, err := e.Files.Noted(targetLink)
		if err != nil || !noted {
			return err
		}
		if used, err := e.Units.Wants(targetMachines); err != nil || used {
			return err
		}
		if err := e.Units.Disable(ctx, targetMachines); err != nil {
			return err
		}
		return e.Files.Unnote(targetLink)
	})
}
