package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// bounded is what bounds a machine now, in the result of status.
type bounded struct {
	// Kernel is what the kernel has, by the names of the flags; absent where
	// that cannot be known.
	Kernel map[string]string `json:"kernel,omitempty"`
	// Memory is in bytes, Tasks are processes and threads, both in use now.
	Memory uint64 `json:"memory,omitempty"`
	Tasks  uint64 `json:"tasks,omitempty"`
	// NotHeld are limits that do not hold, each with the reason.
	NotHeld []string `json:"notHeld,omitempty"`
}

// askBounds asks what bounds a machine, as far as that can be known.
func askBounds(ctx context.Context, house *machines.House, v machines.View) *bounded {
	if v.Problem != "" {
		return nil // as could be told of the limits
	}
	b, err := house.Bounds(ctx, v.Machine)
	if err != nil {
		return &bounded{NotHeld: []string{err.Error()}}
	}
	out := &bounded{NotHeld: b.NotHeld()}
	if v.Status.State != driver.Running {
		return out
	}
	out.Memory, out.Tasks = b.Memory, b.Tasks
	for _, name := range spec.LimitNames() {
		if value := b.Kernel.Show(name); value != "" {
			if out.Kernel == nil {
				out.Kernel = map[string]string{}
			}
			out.Kernel[name] = value
		}
	}
	return out
}

// rows are for the table of status.
func (b *bounded) rows(row func(label, value string)) {
	if b == nil {
		return
	}
	var kernel, used []string
	for _, name := range spec.LimitNames() {
		if value := b.Kernel[name]; value != "" {
			kernel = append(kernel, name+" "+value)
		}
	}
	if b.Memory > 0 {
		used = append(used, fmt.Sprintf("memory %.1fM", float64(b.Memory)/(1<<20)))
	}
	if b.Tasks > 0 {
		used = append(used, fmt.Sprintf("%d tasks", b.Tasks))
	}
	row("kernel", strings.Join(kernel, ", "))
	row("in use", strings.Join(used, ", "))
	for _, reason := range b.NotHeld {
		row("not held", reason)
	}
}
