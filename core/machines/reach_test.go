package machines

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func TestFiftyMachinesMadeAtOnceAllDiffer(t *testing.T) {
	h, _ := newHouse(t)
	const many = 50
	var mu sync.Mutex
	subnets, links := map[netip.Prefix]string{}, map[string]string{}
	var making sync.WaitGroup
	for i := range many {
		making.Go(func() {
			name := fmt.Sprintf("averylongname-%d", i)
			rec, err := h.draft(Wanted{Spec: wanted(name)}, spec.DriverDirect)
			if err == nil {
				rec, err = h.reserve(t.Context(), rec)
			}
			if err != nil {
				t.Error(err)
				return
			}
			m := rec.Machine()
			mu.Lock()
			defer mu.Unlock()
			if other, taken := subnets[m.Address.Masked()]; taken {
				t.Errorf("%s and %s both have %s", name, other, m.Address)
			}
			if other, taken := links[m.Interface]; taken {
				t.Errorf("%s and %s both have the link %s", name, other, m.Interface)
			}
			subnets[m.Address.Masked()], links[m.Interface] = name, name
		})
	}
	making.Wait()
	all, err := h.Store.List()
	if err != nil || len(all) != many {
		t.Errorf("%d machines are on record, %v", len(all), err)
	}
}

func publishing(name string, ports ...string) spec.Spec {
	s := wanted(name)
	for _, p := range ports {
		publish, e := spec.ParsePublish(p)
		if e != nil {
			panic(e)
		}
		s.Network.Publish = append(s.Network.Publish, publish)
	}
	return s
}

func TestAPortOfTheHostIsOneMachinesAlone(t *testing.T) {
	h, _ := newHouse(t)
	rec, err := h.draft(Wanted{Spec: publishing("first", "8080:80", "127.0.0.1:9000:90", "53:53/udp")}, spec.DriverDirect)
	if err != nil {
		t.Fatal(err)
	}
	late, err := h.draft(Wanted{Spec: publishing("late", "8080:81")}, spec.DriverDirect) // while nobody has it yet
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.reserve(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	refused := func(err error) {
		t.Helper()
		var invalid spec.Invalid
		if !errors.As(err, &invalid) || invalid[0].Field != "network.publish" || !strings.Contains(err.Error(), "machine first") || invalid[0].Hint == "" {
			t.Errorf("%v, want to be told that first has the port", err)
		}
	}
	_, err = h.reserve(t.Context(), late)
	refused(err)
	for _, p := range []string{"8080:1", "127.0.0.1:8080:1", "9000:1"} {
		_, err = h.draft(Wanted{Spec: publishing("second", p)}, spec.DriverDirect)
		refused(err)
	}
	for _, p := range []string{"8080:1/udp", "127.0.0.2:9000:1", "53:1"} {
		if _, err = h.draft(Wanted{Spec: publishing("second", p)}, spec.DriverDirect); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestRecordsOfEarlierVersionsMeanWhatTheirDriverDid(t *testing.T) {
	for _, c := range []struct {
		m    store.Machine
		want bool
	}{
		{store.Machine{Driver: spec.DriverDirect}, true},
		{store.Machine{Driver: spec.DriverSystemd}, false},
		{store.Machine{Driver: spec.DriverSystemd, HostNetwork: spec.HostNetworkBuiltin}, true},
		{store.Machine{Driver: spec.DriverSystemd, HostNetwork: spec.HostNetworkNetworkd}, false},
	} {
		if got := c.m.Builtin(); got != c.want {
			t.Errorf("%+v: builtin %v", c.m, got)
		}
	}
}
