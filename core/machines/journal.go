package machines

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/journal"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Journal prints the journal of a machine, and returns the exit status of
// journalctl. Of a machine that is off it is what it kept. No lock is taken: one
// may want to read it while another run of the program is at work.
func (h *House) Journal(ctx context.Context, name string, s journal.Selection, to journal.To) (code int, err error) {
	v, err := h.Get(ctx, name)
	if err != nil {
		return -1, err
	}
	switch {
	case v.Problem != "":
		return -1, fmt.Errorf("%s: %s", name, v.Problem)
	case v.Status.State == driver.Running:
		return journal.Running(ctx, v.Status.Leader, s, to)
	case s.Follow:
		return -1, &NotRunningError{name}
	}
	return keptOf(ctx, v.Machine, s, to)
}

func keptOf(ctx context.Context, m store.Machine, s journal.Selection, to journal.To) (code int, err error) {
	if m.Tree.Staging != "" {
		return -1, fmt.Errorf("%s: %w", m.Name, ErrIncomplete)
	}
	tree, err := stages.TreeOf(m)
	if err != nil {
		return -1, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	code, err = journal.Kept(ctx, tree, s, to)
	if errors.Is(err, journal.ErrNotKept) {
		err = fmt.Errorf("%s: %w", m.Name, err)
	}
	return code, err
}
