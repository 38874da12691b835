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
	return m.Interface != "" && !m.Spec.Network.Private && !m.Builtin()
}

// NetworkPath is the .network file that we write for a machine.
func NetworkPath(name string) string {
	return filepath.Join("/etc/systemd/network", "50-ve-"+name+".network")
}

// warnOfFirewall names whoever will drop what the machine sends, which else
// would show as a name that does not resolve, or what is sent to its published
// ports. That the rules cannot be read is no reason not to go on.
func (h *House) warnOfFirewall(m store.Machine) []host.Blockade {
	found, err := host.Blockades(Ways(m)...)
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
func blame(err error, m store.Machine, found []host.Blockade) error {
	var e *readiness.Error
	if !errors.As(err, &e) || e.Rung != readiness.Resolves {
		return err
	}
	for _, b := range found {
		if KeepsNames(m, b) {
			e.Message += ": " + b.String()
			e.Hint = strings.Join(b.Mend, " && ")
			break
		}
	}
	return err
}

// lookingRound does what boots a machine, and says what of the host is in its
// way: before, for then it is no surprise, and after, when the link is there.
func (h *House) lookingRound(m store.Machine, boot func() error) error {
	outranked := h.warnOfOutranked(m, "")
	blocked := h.warnOfFirewall(m)
	err := boot()
	h.warnOfOutranked(m, outranked)
	return blame(err, m, blocked)
}

// warnOfOutranked names the .network file of somebody else that the machine's
// link takes in place of ours, and returns it. said is what was named before:
// what cannot be told before the link is there, networkd says afterwards.
func (h *House) warnOfOutranked(m store.Machine, said string) string {
	if !NetworkdServes(m) {
		return ""
	}
	ours := NetworkPath(m.Name)
	var file string
	var err error
	if host.LinkExists(m.Interface) {
		file, err = host.NetworkFile(m.Interface)
	} else {
		file, err = host.Outranking(m.Interface, ours)
	}
	if err != nil || file == "" || file == ours || file == said {
		return file
	}
	h.Tell(pipeline.Event{
		Stage: stages.NameNetwork, Kind: pipeline.Warning, Text: m.Interface + " is configured by " + file + ", which comes before ours",
		Hint: MoveBehind(file) + " && networkctl reload",
	})
	return file
}

// MoveBehind is the command that gives a .network file a name that sorts after
// ours.
func MoveBehind(file string) string {
	behind := "95-" + strings.TrimLeft(filepath.Base(file), "0123456789-")
	return "mv " + file + " " + filepath.Join("/etc/systemd/network", behind)
}
