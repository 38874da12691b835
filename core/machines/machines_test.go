package machines

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// idle is a driver under which nothing ever runs.
type idle struct{ stopped []string }

func (*idle) Name() string                                { return "idle" }
func (*idle) Start(context.Context, driver.Machine) error { return errors.New("nothing starts here") }

func (d *idle) Stop(_ context.Context, m driver.Machine, _ time.Duration) error {
	d.stopped = append(d.stopped, m.Name)
	return nil
}

func (*idle) Status(context.Context, string) (driver.Status, error) {
	return driver.Status{State: driver.Stopped}, nil
}
func (*idle) Console(context.Context, string, int) ([]string, error) { return nil, nil }
func (*idle) Unenforced(driver.Machine) []string                     { return nil }

func (*idle) Limits(context.Context, driver.Machine) (driver.Bounds, error) {
	return driver.Bounds{}, nil
}
func (*idle) Limit(context.Context, driver.Machine) ([]string, error) { return nil, nil }

func newHouse(t *testing.T) (*House, *idle) {
	t.Helper()
	dir := t.TempDir()
	d := &idle{}
	state := filepath.Join(dir, "state")
	return &House{
		Host:    host.Host{SystemdVersion: 257, Nspawn: "/usr/bin/systemd-nspawn", Family: "debian"},
		Store:   &store.Store{StateDir: state, RuntimeDir: filepath.Join(dir, "run")},
		Files:   &hostfile.Files{Made: filepath.Join(state, "directories.json")},
		Plugins: &pluginhost.Host{RuntimeDir: filepath.Join(dir, "run")},
		Pool:    addr.DefaultPool(),
		Drivers: map[spec.Driver]driver.Driver{spec.DriverDirect: d},
		Tell:    func(pipeline.Event) {},
	}, d
}

func wanted(name string) spec.Spec {
	return spec.Spec{
		Version: spec.Version, Name: name, Distro: "debian", Directory: "/var/lib/machines", Driver: spec.DriverAuto,
		Network: spec.Network{DNS: spec.DNS{Mode: spec.DNSServers, Servers: []netip.Addr{netip.MustParseAddr("9.9.9.9")}}},
	}
}

func TestEachMachineIsDraftedASubnetOfItsOwn(t *testing.T) {
	h, _ := newHouse(t)
	seen := map[netip.Prefix]bool{}
	for _, name := range []string{"one", "two", "three"} {
		rec, err := h.draft(Wanted{Spec: wanted(name)}, spec.DriverDirect)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Store.Load(name); !errors.Is(err, store.ErrNoMachine) {
			t.Errorf("drafting %s wrote a record: %v", name, err)
		}
		if rec, err = h.reserve(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
		m := rec.Machine()
		if seen[m.Address.Masked()] || m.HostSide.Masked() != m.Address.Masked() {
			t.Errorf("%s has %s and the host %s", name, m.Address, m.HostSide)
		}
		seen[m.Address.Masked()] = true
	}
}

func TestASubnetThatWasTakenMeanwhileIsChosenAgain(t *testing.T) {
	h, _ := newHouse(t)
	first, err := h.draft(Wanted{Spec: wanted("first")}, spec.DriverDirect)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.draft(Wanted{Spec: wanted("second")}, spec.DriverDirect)
	if err != nil {
		t.Fatal(err)
	}
	if first.Machine().Address != second.Machine().Address {
		t.Fatal("the test needs two drafts of one subnet")
	}
	for _, rec := range []**store.Record{&first, &second} {
		if *rec, err = h.reserve(context.Background(), *rec); err != nil {
			t.Fatal(err)
		}
	}
	if first.Machine().Address == second.Machine().Address {
		t.Errorf("both have %s", first.Machine().Address)
	}
}

func TestNamesWhoseLinksWouldBeTheSameAreRefused(t *testing.T) {
	h, _ := newHouse(t)
	h.Host.SystemdVersion = 240 // which cuts long names
	rec, err := h.draft(Wanted{Spec: wanted("averylongname-1")}, spec.DriverDirect)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.reserve(context.Background(), rec); err != nil {
		t.Fatal(err)
	}
	var invalid spec.Invalid
	if _, err := h.draft(Wanted{Spec: wanted("averylongname-2")}, spec.DriverDirect); !errors.As(err, &invalid) || invalid[0].Field != "name" {
		t.Errorf("draft: %v, want the name refused", err)
	}
}

func TestAnAddressThatTheHostUsesIsRefused(t *testing.T) {
	h, _ := newHouse(t)
	s := wanted("box")
	s.Network.Address = netip.MustParsePrefix("127.0.0.9/8") // the one subnet that every host has
	var invalid spec.Invalid
	if _, err := h.draft(Wanted{Spec: s}, spec.DriverDirect); !errors.As(err, &invalid) || invalid[0].Field != "network.address" || invalid[0].Hint == "" {
		t.Errorf("draft: %v, want the address refused", err)
	}
}

func TestOtherPeopleMustNotReachATree(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: whose directories they are is what counts")
	}
	dir := t.TempDir()
	mk := func(name string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(p, 0o700), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mk("open", 0o755), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	shared := mk("shared", 0o770)
	for path, problem := range map[string]string{
		mk("private", 0o700):                 "",
		filepath.Join(dir, "new"):            "",
		filepath.Join(dir, "new", "below"):   "",
		mk("open", 0o755):                    "can be entered by others",
		filepath.Join(dir, "link"):           "can be entered by others",
		shared:                               "may be written to by others",
		filepath.Join(shared, "below"):       "which others may write to",
		file:                                 "is not a directory",
		filepath.Join(file, "below"):         "cannot be used",
		mk("world", 0o777|os.ModeSticky):     "may be written to by others",
		filepath.Join(dir, "private", "sub"): "",
	} {
		err := checkDirectory(path)
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%s: %v, want %q", path, err, problem)
		}
	}
}

func TestMissingToolsAreNamedWithTheCommandThatInstallsThem(t *testing.T) {
	h, _ := newHouse(t)
	d := sdk.Description{Tools: []sdk.ToolNeed{
		{AnyOf: []string{"sh"}, Purpose: "run scripts"},
		{AnyOf: []string{"no-such-tool-a", "no-such-tool-b"}, Purpose: "bootstrap", Packages: map[string]string{"debian": "the-package"}},
		{AnyOf: []string{"no-such-tool-c"}, Purpose: "something else", Distros: []string{"other"}},
	}}
	err := h.toolsReady(d, "debian")
	var hostError *HostError
	if !errors.As(err, &hostError) || !strings.Contains(hostError.Problem, "no-such-tool-a or no-such-tool-b") ||
		strings.Contains(hostError.Problem, "no-such-tool-c") || !strings.Contains(hostError.Hint, "apt-get install the-package") {
		t.Errorf("toolsReady: %+v", err)
	}
}

func TestOptionsAreThoseThatThePluginDeclares(t *testing.T) {
	d := sdk.Description{Name: "x", Options: []sdk.Option{{Name: "free"}, {Name: "engine", Choices: []string{"a", "b"}}}}
	for options, findings := range map[[2]string]int{
		{"free", "anything"}: 0, {"engine", "a"}: 0, {"engine", "c"}: 1, {"colour", "red"}: 1,
	} {
		err := optionsKnown(d, map[string]string{options[0]: options[1]})
		var invalid spec.Invalid
		if errors.As(err, &invalid); len(invalid) != findings {
			t.Errorf("%v: %v, want %d findings", options, err, findings)
		}
	}
}

func TestOnlyErrorsOfAPluginStopARun(t *testing.T) {
	if err := invalid([]sdk.Diagnostic{{Severity: sdk.SeverityWarning, Field: "mirrors", Message: "slow"}}); err != nil {
		t.Errorf("a warning is taken for an error: %v", err)
	}
	err := invalid([]sdk.Diagnostic{{Severity: sdk.SeverityError, Field: "release", Message: `no release "x"`, Hint: "try y"}})
	if err == nil || err.Error() != `release: no release "x"` {
		t.Errorf("invalid: %v", err)
	}
}

func TestAReleaseThatIsRefusedIsAnsweredWithTheOneThatWasMeant(t *testing.T) {
	by := sdk.Description{Distros: []sdk.Distro{{Name: "other", Releases: []string{"trixxy"}}, {Name: "debian", Releases: []string{"trixie", "bookworm"}}}}
	for release, want := range map[string]string{"trixi": "did you mean trixie? known are these", "44": "known are these"} {
		found := []sdk.Diagnostic{{Severity: sdk.SeverityError, Field: "release", Hint: "known are these"}, {Severity: sdk.SeverityError, Field: "mirrors"}}
		got := meant(found, by, sdk.Request{Distro: "debian", Release: release})
		if got[0].Hint != want || got[1].Hint != "" {
			t.Errorf("%s: %+v, want %q", release, got, want)
		}
	}
}

func TestWhatTheHostLacksIsNoFaultOfTheSpec(t *testing.T) {
	lacks := sdk.Diagnostic{Severity: sdk.SeverityError, Field: "options.engine", Message: "dnf does not answer", Code: sdk.CodeHostNotReady, Hint: "ask it"}
	var failure *sdk.Failure
	if err := invalid([]sdk.Diagnostic{lacks}); !errors.As(err, &failure) || failure.Code != sdk.CodeHostNotReady || failure.Hint != "ask it" {
		t.Errorf("alone: %v", err)
	}
	var bad spec.Invalid
	wrong := sdk.Diagnostic{Severity: sdk.SeverityError, Field: "release", Message: `no release "x"`}
	if err := invalid([]sdk.Diagnostic{lacks, wrong}); !errors.As(err, &bad) || len(bad) != 2 {
		t.Errorf("beside a fault of the spec: %v", err)
	}
}

func TestAutoIsTheDriverOfTheHost(t *testing.T) {
	h, _ := newHouse(t)
	if got := h.choose(spec.DriverAuto); got != spec.DriverDirect {
		t.Errorf("without systemd: %s", got)
	}
	h.Host.Systemd = true
	if got := h.choose(spec.DriverAuto); got != spec.DriverSystemd {
		t.Errorf("with systemd: %s", got)
	}
	if got := h.choose(spec.DriverDirect); got != spec.DriverDirect {
		t.Errorf("direct was asked for, got %s", got)
	}
}

func TestRunsDoNotMeetOnOneMachine(t *testing.T) {
	h, d := newHouse(t)
	rec, err := h.draft(Wanted{Spec: wanted("box")}, spec.DriverDirect)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = h.reserve(context.Background(), rec); err != nil {
		t.Fatal(err)
	}
	lock, err := h.Store.Lock("box")
	if err != nil {
		t.Fatal(err)
	}
	_, startErr := h.Start(context.Background(), "box", time.Minute)
	_, stopErr := h.Stop(context.Background(), "box", time.Minute)
	for what, err := range map[string]error{"start": startErr, "stop": stopErr, "destroy": h.Destroy(context.Background(), "box")} {
		if !errors.Is(err, store.ErrLocked) {
			t.Errorf("%s amid another run: %v, want ErrLocked", what, err)
		}
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Start(context.Background(), "box", time.Minute); !errors.Is(err, ErrIncomplete) {
		t.Errorf("start of a machine that is half made: %v, want ErrIncomplete", err)
	}
	if changed, err := h.Stop(context.Background(), "box", time.Minute); err != nil || changed || len(d.stopped) != 1 {
		t.Errorf("stop: %v, %v, stopped %v", changed, err, d.stopped)
	}
	if _, err := h.Get(context.Background(), "other"); !errors.Is(err, store.ErrNoMachine) {
		t.Errorf("Get of another: %v, want ErrNoMachine", err)
	}
}
