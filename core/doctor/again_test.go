package doctor

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// What a spec says is in the file that show writes, of which core/spec's own
// tests say that it holds every field: the command names none but those that no
// file can hold, and those that no other machine can have meanwhile.
func TestAMachineIsMadeAnewOfTheFileThatShowWritesAndOnlyAfterADryRun(t *testing.T) {
	const save, gone = "nspawn-build show box --output yaml >box.anew.yaml && ", "nspawn-build destroy box && "
	const create = "nspawn-build create --file box.anew.yaml"
	published := spec.Network{Publish: []spec.Publish{{Protocol: "tcp", Host: 8080, Machine: 80}}}
	full := spec.Spec{
		Distro: "debian", Release: "trixie", Packages: []string{"vim"}, Snapshot: "2026-11-01", Directory: "/srv/m", Enable: true,
		Customize: spec.Customize{Scripts: []string{"/srv/setup.sh"}, Hooks: []spec.Hook{{Point: spec.HookAfter, Stage: "network", Command: "true && false"}}, Network: true},
		Network:   spec.Network{Address: netip.MustParsePrefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1"), DNS: spec.DNS{Mode: spec.DNSHost}},
		Limits:    spec.Limits{CPUQuota: 50, MemoryMax: 1 << 30}, Storage: spec.Storage{ReadOnly: true}, Labels: map[string]string{"k": "v"},
	}
	for name, c := range map[string]struct {
		of    spec.Spec
		whole bool
		want  string
		says  string
	}{
		"of nothing":                {spec.Spec{}, true, save + create + " --dry-run anew && " + gone + create, "box.anew.yaml"},
		"of everything":             {full, true, save + create + " --dry-run --address= --gateway= anew && " + gone + create, "box.anew.yaml"},
		"with a lost tree":          {spec.Spec{}, false, save + create + " --dry-run anew && aside && " + gone + create, "box.anew.yaml"},
		"with ports":                {spec.Spec{Network: published}, true, save + create + " --dry-run --apply=false && " + gone + create, ""},
		"with ports, a lost tree":   {spec.Spec{Network: published}, false, save + "aside && " + gone + create, ""},
		"with the invoker's keys":   {spec.Spec{Access: spec.Access{InvokerKeys: true}}, true, save + create + " --dry-run anew && " + gone + create, "whoever runs this"},
		"with a generated password": {spec.Spec{Access: spec.Access{Password: spec.PasswordGenerated}}, true, save + create + " --dry-run anew && " + gone + create, "new password"},
		"with a password": {
			spec.Spec{Access: spec.Access{Password: spec.PasswordGiven}},
			true,
			save + create + " --password-file FILE --dry-run anew && " + gone + create + " --password-file FILE", "FILE stands for",
		},
		"with the hash of one": {
			spec.Spec{Access: spec.Access{Password: spec.PasswordHash}},
			true,
			save + create + " --password-hash HASH --dry-run anew && " + gone + create + " --password-hash HASH", "HASH stands for",
		},
		"with a password and ports, a lost tree": {
			spec.Spec{Network: published, Access: spec.Access{Password: spec.PasswordGiven}},
			false,
			save + "test -s FILE && aside && " + gone + create + " --password-file FILE", "FILE stands for",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &patient{exam: &exam{}, m: store.Machine{Name: "box", Spec: c.of}}
			var steps []string
			if !c.whole {
				steps = []string{"aside"}
			}
			got := p.anew(c.whole, steps...)
			if diff := cmp.Diff(c.want, got.command); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(got.say, c.says) {
				t.Errorf("it says %q", got.say)
			}
		})
	}
}

func TestACloneIsMadeAnewOfItsSourceOrNotAtAll(t *testing.T) {
	made := time.Now()
	clone := store.Machine{Name: "twin", Clone: &store.Clone{Of: "box", Made: made, Live: true, NewPassword: true}, Spec: spec.Spec{
		Directory: "/srv/m", Driver: spec.DriverAuto, Access: spec.Access{Password: spec.PasswordGiven},
		Network: spec.Network{Address: netip.MustParsePrefix("10.0.0.2/24")},
	}}
	others := func(created time.Time) *exam {
		return &exam{machines: []store.Machine{{Name: "anew"}, {Name: "box", Complete: true, Created: created}, clone}}
	}
	const flags = " --directory /srv/m --driver auto --live --password-file FILE"
	const want = "nspawn-build show twin --output yaml >twin.anew.yaml && nspawn-build clone box anewname" + flags + " --dry-run && nspawn-build destroy twin" +
		" && nspawn-build clone box twin" + flags + " --address 10.0.0.2/24 && nspawn-build create --file twin.anew.yaml --restart"
	got := (&patient{exam: others(made), m: clone}).anew(false)
	if diff := cmp.Diff(strings.Replace(want, "anewname", "aneww", 1), got.command); diff != "" || !strings.Contains(got.say, "FILE stands for") {
		t.Errorf("it says %q (-want +got):\n%s", got.say, diff)
	}
	for _, e := range []*exam{{}, others(made.Add(time.Hour))} {
		if got := (&patient{exam: e, m: clone}).anew(false); got.command != "" || !strings.Contains(got.say, "its source box is gone") {
			t.Errorf("of a source that is not there: %+v", got)
		}
	}
}
