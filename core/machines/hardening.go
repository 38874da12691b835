package machines

import (
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

// hardeningKnown checks that the systemd of this host knows what is asked of
// it: in a settings file it passes over what it does not know, with a line in a
// log that nobody reads.
func (h *House) hardeningKnown(s spec.Spec) error {
	version := h.Host.SystemdVersion
	for _, need := range []struct {
		asked bool
		since int
		what  string
	}{
		{s.Security.NoNewPrivileges, 239, "--no-new-privileges"},
		{len(s.Security.SystemCallFilter) > 0, 239, "--system-call-filter"},
		{s.Storage.Ephemeral, 240, "--ephemeral in a settings file"},
		{s.Security.PrivateUsers == spec.PrivateUsersIdentity, 249, "--private-users identity"},
		{len(s.Customize.Scripts) > 0 || len(s.Customize.Hooks) > 0, 249, "--script and --hook"},
	} {
		if need.asked && version > 0 && version < need.since {
			return &HostError{
				fmt.Sprintf("systemd %d of this host does not know %s", version, need.what),
				fmt.Sprintf("leave it out, or use a host with systemd %d or newer", need.since),
			}
		}
	}
	return nil
}

// caution says what one should know about a machine that was asked for.
func (h *House) caution(s spec.Spec) {
	for _, text := range spec.Cautions(s) {
		h.Tell(pipeline.Event{Stage: stages.NameSettings, Kind: pipeline.Warning, Text: text})
	}
}
