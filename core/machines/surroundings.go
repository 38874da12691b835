package machines

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/readiness"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Reaches tells whether a machine has a link and may reach beyond this host
// through it.
func Reaches(m store.Machine) bool {
	return m.Interface != "" && !m.Spec.Network.Private && m.Spec.Network.Egress != spec.EgressNone
}

// NetworkdServes tells whether the host's networkd configures this host's end
// of a machine's link.
func NetworkdServes(m store.Machine) bool {
	return m.Driver == spec.DriverSystemd && m.Interface != "" && !m.Spec.Network.Private &&
		m.Spec.Network.Host != spec.HostNetworkBuiltin
}

// NetworkPath is the .network file that we write for a machine.
func NetworkPath(name string) string {
	return filepath.Join("/etc/systemd/network", "50-ve-"+name+".network")
}

// warnOfFirewall names whoever will drop what the machine sends, which else
// would show as a name that does not resolve. That the rules cannot be read is
// no reason not to go on.
func (h *House) warnOfFirewall(m store.Machine) []host.Blockade {
	if !Reaches(m) {
		return nil
	}
	found, err := host.Blockades(m.Interface, m.Address.Addr())
	if err != nil {
		return nil
	}
	var certain []host.Blockade
	for _, b := range found {
		if !b.Doubtful {
			certain = append(certain, b)
			h.Tell(pipeline.Event{Stage: stages.NameNetwork, Kind: pipeline.Warning, Text: b.String(), Hint: "let machines through: " + strings.Join(b.Mend, " && ")})
		}
	}
	return certain
}

// blame names the firewall in the error of a machine that came up and cannot
// resolve a name.
func blame(err error, found []host.Blockade) error {
	var e *readiness.Error
	if errors.As(err, &e) && e.Rung == readiness.Resolves && len(found) > 0 {
		e.Message += ": " + found[0].String()
		e.Hint = strings.Join(found[0].Mend, " && ")
	}
	return err
}

// warnOfOutranked names the .network file of somebody else that the machine's
// link takes in place of ours. Once the link is there, networkd is asked.
func (h *House) warnOfOutranked(m store.Machine) {
	if !NetworkdServes(m) {
		return
	}
	file, err := host.NetworkFile(m.Interface)
	if err != nil || file == NetworkPath(m.Name) {
		file = ""
	}
	if !host.LinkExists(m.Interface) {
		file, _ = host.Outranking(m.Interface, NetworkPath(m.Name)) // it is looked at again once the link is there
	}
	if file == "" {
		return
	}
	h.Tell(pipeline.Event{
		Stage: stages.NameNetwork, Kind: pipeline.Warning, Text: m.Interface + " is configured by " + file + ", which comes before ours",
		Hint: MoveBehind(file) + " && networkctl reload",
	})
}

// MoveBehind is the command that gives a .network file a name that sorts after
// ours.
func MoveBehind(file string) string {
	behind := "95-" + strings.TrimLeft(filepath.Base(file), "0123456789-")
	return "mv " + file + " " + filepath.Join("/etc/systemd/network", behind)
}
