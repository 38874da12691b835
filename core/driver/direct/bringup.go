package direct

import (
	"context"
	"os"

	"github.com/nspawn-build/nspawn-build/core/driver/nspawn"
)

// bringUp waits for the leader and sets up the host's end of its link.
func (s *supervisor) bringUp(ctx context.Context, n *nspawn.Process) error {
	pid, err := n.WaitInit(ctx)
	if err != nil {
		return err
	}
	if s.machine.Interface != "" {
		if err := s.link.Connect(ctx); err != nil {
			return err
		}
	}
	if err := writeJSON(s.state(), state{Supervisor: os.Getpid(), Leader: pid, Ready: true}); err != nil {
		return err
	}
	s.report.say(news{Ready: true})
	return nil
}
