package machines

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestAMachineWithoutALinkIsDraftedNoAddress(t *testing.T) {
	h, _ := newHouse(t)
	private := wanted("private")
	private.Network.Private = true
	rec, err := h.draft(Wanted{Spec: private}, spec.DriverDirect)
	if err != nil {
		t.Fatal(err)
	}
	if rec, err = h.reserve(context.Background(), rec); err != nil {
		t.Fatal(err)
	}
	if m := rec.Machine(); m.Address.IsValid() || m.HostSide.IsValid() || m.Interface != "" || m.DNS != nil {
		t.Errorf("it has %s on %q, the host %s, DNS %v", m.Address, m.Interface, m.HostSide, m.DNS)
	}
	rec, err = h.draft(Wanted{Spec: wanted("linked")}, spec.DriverDirect)
	if err != nil || !rec.Machine().Address.IsValid() {
		t.Errorf("beside it another has %s, %v", rec.Machine().Address, err)
	}
}

func TestWhatThisSystemdDoesNotKnowIsNamed(t *testing.T) {
	for _, c := range []struct {
		version int
		spec    spec.Spec
		says    string
	}{
		{238, spec.Spec{Security: spec.Security{NoNewPrivileges: true}}, "--no-new-privileges"},
		{239, spec.Spec{Security: spec.Security{NoNewPrivileges: true}}, ""},
		{248, spec.Spec{Security: spec.Security{PrivateUsers: spec.PrivateUsersIdentity}}, "identity"},
		{239, spec.Spec{Storage: spec.Storage{Ephemeral: true}}, "--ephemeral"},
		{0, spec.Spec{Storage: spec.Storage{Ephemeral: true}}, ""},
		{230, spec.Spec{}, ""},
	} {
		err := (&House{Host: host.Host{SystemdVersion: c.version}}).hardeningKnown(c.spec)
		var lacks *HostError
		if errors.As(err, &lacks) != (c.says != "") || lacks != nil && (!strings.Contains(lacks.Problem, c.says) || lacks.Hint == "") {
			t.Errorf("systemd %d: %v, want an error that says %q", c.version, err, c.says)
		}
	}
}

func TestCautionsAreTold(t *testing.T) {
	var told []pipeline.Event
	h := &House{Tell: func(e pipeline.Event) { told = append(told, e) }}
	h.caution(spec.Spec{Security: spec.Security{PrivateUsers: spec.PrivateUsersNone}})
	if len(told) != 1 || told[0].Kind != pipeline.Warning || !strings.Contains(told[0].Text, "root of this host") {
		t.Errorf("told was %+v", told)
	}
}
