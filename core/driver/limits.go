package driver

import (
	"context"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Bounds is what bounds a machine at one moment, and what it uses.
type Bounds struct {
	// Kernel is what the kernel's cgroup has: Infinity where nothing bounds,
	// 0 where that cannot be known. It is the zero value unless the machine
	// runs.
	Kernel spec.Limits
	// Memory is in bytes; Tasks are processes and threads. 0 is unknown.
	Memory, Tasks uint64
	// Pending are limits that do not hold yet and that would if they were
	// applied again, each with what is the case.
	Pending []string
	// Outranked are limits about which something else has the last word that
	// is not ours to change.
	Outranked []Outranked
}

// Outranked is a limit about which a file of somebody else has the last word.
type Outranked struct {
	Limit      string   // the name of its flag
	Value      string   // that it has by the file
	File       string   // the only one that need be changed
	Directives []string // that the file may say it by
	Wanted     bool     // that it is one of the machine's limits at all
}

// String says what is the case.
func (o Outranked) String() string {
	return fmt.Sprintf("limits.%s: is %s by %s", o.Limit, o.Value, o.File)
}

// NotHeld are all of the limits that do not hold, each with what is the case.
func (b Bounds) NotHeld() []string {
	var all []string
	for _, o := range b.Outranked {
		all = append(all, o.String())
	}
	return append(all, b.Pending...)
}

// Limiter bounds machines that run.
type Limiter interface {
	// Limits says what bounds m, compared with m.Limits. That m does not run
	// is no error.
	Limits(ctx context.Context, m Machine) (Bounds, error)
	// Limit makes m.Limits hold for m, and those hold no more that it does not
	// set. Where m does not run, that is left to its start. It returns the
	// limits that were not taken, each with the reason; those that Unenforced
	// names are not among them.
	Limit(ctx context.Context, m Machine) (refused []string, err error)
}
