package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nspawn-build/nspawn-build/core/inside"
)

// prompt is a login prompt that a machine's own service manager keeps on a
// terminal.
type prompt struct {
	leader int
	unit   string
}

// start has a prompt appear. How often there was one on that terminal before is
// forgotten: five in ten seconds are all that a service manager starts.
func (p prompt) start(ctx context.Context) error {
	_ = p.control(ctx, "reset-failed") // it need not know the unit
	return p.control(ctx, "start")
}

// keep has the prompt come back when the service manager has had enough of
// starting it, which is what it thinks of somebody who logs out often.
func (p prompt) keep(ctx context.Context) {
	const pause = time.Second // one that cannot run is not to keep the machine busy
	for {
		_ = p.control(ctx, "start", "--wait") // how it ended says nothing of what to do
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		_ = p.control(ctx, "reset-failed") // as above
	}
}

func (p prompt) control(ctx context.Context, verb ...string) error {
	argv := append(append([]string{"systemctl"}, verb...), p.unit)
	out, code, err := inside.Command{Leader: p.leader, Argv: argv}.Output(ctx, 1<<12)
	if err == nil && code != 0 {
		err = fmt.Errorf("%q in the machine: status %d %s", argv, code, out)
	}
	return err
}
