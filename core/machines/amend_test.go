package machines

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// running is a driver under which everything runs, under the leader of that
// number.
type running struct {
	idle
	leader int
	since  time.Time
}

func (r *running) Status(context.Context, string) (driver.Status, error) {
	return driver.Status{State: driver.Running, Leader: r.leader, Since: r.since}, nil
}

// complete puts a machine on record that is made, with a tree of a few files.
func complete(t *testing.T, h *House, name string, keys ...string) *store.Record {
	t.Helper()
	s := wanted(name)
	s.Directory, s.Access.SSHKeys = t.TempDir(), keys
	rec, err := h.draft(Wanted{Spec: s}, spec.DriverDirect)
	if err == nil {
		rec, err = h.reserve(t.Context(), rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(s.Directory, name)
	if err := os.MkdirAll(filepath.Join(tree, "root/.ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := rootfs.Open(tree)
	if err != nil {
		t.Fatal(err)
	}
	id, err := r.Identity()
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if err := rec.Update(func(m *store.Machine) { m.Complete, m.Tree.Root = true, id }); err != nil {
		t.Fatal(err)
	}
	return rec
}

// amended is what amend makes of a wish that begins as the machine is.
func amended(h *House, rec *store.Record, w Wanted, change func(*spec.Spec)) (*store.Record, *making, error) {
	w.Spec = rec.Machine().Spec
	change(&w.Spec)
	made := &making{}
	next, err := h.amend(context.Background(), rec, w, made)
	return next, made, err
}

func TestWhatDiffersIsSaidAndIsChangedOnlyWhenThatIsWished(t *testing.T) {
	h, _ := newHouse(t)
	rec := complete(t, h, "box")
	limit := func(s *spec.Spec) { s.Limits.MemoryMax = 1 << 30 }
	if same, made, err := amended(h, rec, Wanted{}, func(*spec.Spec) {}); err != nil || same != rec || made.differences != nil {
		t.Errorf("the same spec differs: %v", err)
	}
	var exists *ExistsError
	if _, _, err := amended(h, rec, Wanted{}, limit); !errors.As(err, &exists) || len(exists.Differences) != 1 || exists.Half {
		t.Errorf("another one is %v", err)
	}
	next, made, err := amended(h, rec, Wanted{Apply: true}, limit)
	if err != nil || next.Machine().Spec.Limits.MemoryMax != 1<<30 || len(made.differences) != 1 {
		t.Errorf("to be applied it is %v", err)
	}
	if on, err := h.Store.Load("box"); err != nil || on.Spec.Limits.MemoryMax != 0 {
		t.Errorf("looking changed the record: %v", err)
	}
	_, _, err = amended(h, rec, Wanted{Apply: true}, func(s *spec.Spec) { limit(s); s.Release, s.Driver = "sid", spec.DriverDirect })
	if !errors.As(err, &exists) {
		t.Fatalf("a new machine is needed, and the error is %v", err)
	}
	if diff := cmp.Diff([]string{"driver", "release"}, []string{exists.Differences[0].Field, exists.Differences[1].Field}); diff != "" || len(exists.Differences) != 2 {
		t.Errorf("what needs a new machine (-want +got):\n%s", diff)
	}
	if err := rec.Update(func(m *store.Machine) { m.Complete = false }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := amended(h, rec, Wanted{Apply: true}, limit); !errors.As(err, &exists) || !exists.Half {
		t.Errorf("of a half made one: %v", err)
	}
}

func TestATimeThatIsChangedCountsFromWhenTheMachineWasMade(t *testing.T) {
	h, _ := newHouse(t)
	rec := complete(t, h, "box")
	next, _, err := amended(h, rec, Wanted{Apply: true}, func(s *spec.Spec) { s.TTL = spec.Duration(time.Hour) })
	if err != nil || next.Machine().Expires != rec.Machine().Created.Add(time.Hour) {
		t.Errorf("it expires at %v: %v", next.Machine().Expires, err)
	}
	forever, _, err := amended(h, next, Wanted{Apply: true}, func(s *spec.Spec) { s.TTL = 0 })
	if err != nil || !forever.Machine().Expires.IsZero() {
		t.Errorf("without an end it expires at %v: %v", forever.Machine().Expires, err)
	}
}

const keyForm = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"

func TestKeysThatAreChangedLeaveThoseOfTheUserOfTheMachine(t *testing.T) {
	h, _ := newHouse(t)
	a, b, c, own := keyForm+"a", keyForm+"b", keyForm+"c", keyForm+"own"
	rec := complete(t, h, "box", a, b)
	path := filepath.Join(rec.Machine().Tree.Path, "root/.ssh/authorized_keys")
	// Its user took one out and let somebody in.
	if err := os.WriteFile(path, []byte(a+"\n"+own+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, made, err := amended(h, rec, Wanted{Apply: true}, func(s *spec.Spec) { s.Access.SSHKeys = []string{b, c} })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it was cut off before the record was written
		if err := h.settle(t.Context(), next, made, h.Store.Journal("box")); err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(have)); got != own+"\n"+c {
			t.Errorf("let in are\n%s", got)
		}
	}
	if on, err := h.Store.Load("box"); err != nil || !cmp.Equal(on.AuthorizedKeys, []string{b, c}) {
		t.Errorf("on record are %v: %v", on.AuthorizedKeys, err)
	}
}

func TestKeysOfTheInvokerStayWhatTheyWere(t *testing.T) {
	m := store.Machine{Spec: spec.Spec{Access: spec.Access{SSHKeys: []string{"a"}, InvokerKeys: true}}, AuthorizedKeys: []string{"a", "mine"}}
	w := Wanted{InvokerKeys: []string{"new"}, Spec: spec.Spec{Access: spec.Access{SSHKeys: []string{"b"}, InvokerKeys: true}}}
	if got := amendKeys(m, w); !cmp.Equal(got, []string{"b", "mine"}) {
		t.Errorf("they are %v", got)
	}
	m.Spec.Access.InvokerKeys, m.AuthorizedKeys = false, []string{"a"}
	if got := amendKeys(m, w); !cmp.Equal(got, []string{"b", "new"}) {
		t.Errorf("asked for later they are %v", got)
	}
	w.Spec.Access.InvokerKeys = false
	if got := amendKeys(m, w); !cmp.Equal(got, []string{"b"}) {
		t.Errorf("not asked for they are %v", got)
	}
}

func TestWhatTakesABootWaitsUntilThereWasOne(t *testing.T) {
	h, _ := newHouse(t)
	d := &running{leader: 100, since: time.Now()}
	h.Drivers[spec.DriverDirect] = d
	rec := complete(t, h, "box")
	journal := h.Store.Journal("box")
	bind := func(target string) func(*spec.Spec) {
		return func(s *spec.Spec) {
			s.Limits.TasksMax = 100
			s.Storage.Binds = append(s.Storage.Binds, spec.Bind{Source: "/srv", Target: target, ReadOnly: true})
		}
	}
	waits := func() []string {
		t.Helper()
		v, err := h.Get(t.Context(), "box")
		if err != nil {
			t.Fatal(err)
		}
		return WaitsFor(v)
	}
	apply := func(change func(*spec.Spec)) {
		t.Helper()
		next, made, err := amended(h, rec, Wanted{Apply: true}, change)
		if err == nil {
			err = h.settle(t.Context(), next, made, journal)
		}
		if err != nil {
			t.Fatal(err)
		}
		rec = next
	}
	apply(bind("/one"))
	if got := waits(); !cmp.Equal(got, []string{"storage.bind"}) {
		t.Errorf("waiting are %v", got)
	}
	apply(func(s *spec.Spec) { s.Security.NoNewPrivileges = true })
	if got := waits(); !cmp.Equal(got, []string{"storage.bind", "security.no-new-privileges"}) {
		t.Errorf("after another change waiting are %v", got)
	}
	apply(func(s *spec.Spec) { s.Limits.TasksMax = 200 })
	if got := waits(); len(got) != 2 {
		t.Errorf("a change that takes no boot leaves %v", got)
	}
	d.leader = 200
	if got := waits(); got != nil {
		t.Errorf("booted since, waiting are %v", got)
	}
	d.leader, d.since = 100, d.since.Add(time.Hour)
	if got := waits(); got != nil {
		t.Errorf("under another leader of the same number waiting are %v", got)
	}
}

func TestAPasswordThatIsNeededIsAskedForBeforeAnythingIsDone(t *testing.T) {
	h, _ := newHouse(t)
	w := Wanted{Spec: wanted("box")}
	w.Spec.Access.Password = spec.PasswordGiven
	if _, _, err := h.prepare(t.Context(), &w, spec.DriverDirect); !errors.Is(err, stages.ErrPasswordNeeded) {
		t.Errorf("prepare: %v", err)
	}
}

// Two runs may have looked at the same moment, and found the port free.
func TestAPortThatAnotherRunTookMeanwhileIsNotGivenTwice(t *testing.T) {
	h, _ := newHouse(t)
	rec, other := complete(t, h, "box"), complete(t, h, "other")
	port := spec.Publish{Protocol: "tcp", Host: 8080, Machine: 80}
	next, made, err := amended(h, rec, Wanted{Apply: true}, func(s *spec.Spec) { s.Network.Publish = []spec.Publish{port} })
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Update(func(m *store.Machine) { m.Spec.Network.Publish = []spec.Publish{port} }); err != nil {
		t.Fatal(err)
	}
	var bad spec.Invalid
	if err := h.settle(t.Context(), next, made, h.Store.Journal("box")); !errors.As(err, &bad) || bad[0].Field != "network.publish" {
		t.Errorf("it is settled: %v", err)
	}
	if m, err := h.Store.Load("box"); err != nil || len(m.Spec.Network.Publish) != 0 {
		t.Errorf("on record it is published under %v, %v", m.Spec.Network.Publish, err)
	}
}
