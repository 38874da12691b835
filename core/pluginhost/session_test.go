package pluginhost

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func TestAPluginDoesItsJob(t *testing.T) {
	for name, remount := range map[string]bool{"": false, "without mount_setattr": true} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.remount = remount
			grants := jobGrants(t)
			s := startGood(t, h, "good", grants)
			d, err := s.Describe(t.Context())
			if err != nil || d.Distros[0].Name != "good-os" || d.Protocol != sdk.Protocol {
				t.Errorf("Describe: %+v, %v", d, err)
			}
			v, err := s.Validate(t.Context(), sdk.Request{Distro: "good-os"})
			if err != nil || v.Resolved.Release != "1" {
				t.Errorf("Validate: %+v, %v", v, err)
			}
			_, err = s.Plan(t.Context(), sdk.Request{})
			var failure *sdk.Failure
			if !errors.As(err, &failure) || failure.Hint != "make one" || failure.Code != sdk.CodeMirror || len(failure.Tail) != 1 {
				t.Errorf("Plan: %v", err)
			}
			var recorder sdktest.Recorder
			facts, err := s.Bootstrap(t.Context(), grants.request(), &recorder)
			if err != nil {
				t.Fatalf("Bootstrap: %v", err)
			}
			want := sdk.Facts{OSRelease: map[string]string{"ID": "good"}, SSHUnits: []string{"ssh.service"}}
			if diff := cmp.Diff(want, facts); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			wantEvents := []sdktest.Event{
				{Kind: "phase", Text: "unpack"},
				{Kind: "progress", Progress: sdk.Progress{Done: 1, Total: 1, Unit: "packages"}},
				{Kind: "warning", Text: "it is small", Hint: "add to it"},
				{Kind: "line", Text: "done"},
			}
			if diff := cmp.Diff(wantEvents, recorder.Events()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(grants.Target + "/etc/os-release"); err != nil {
				t.Errorf("what it wrote is not in the target: %v", err)
			}
		})
	}
}

// TestAPluginThatCannotStartSaysWhy covers what happens up to the first answer.
func TestAPluginThatCannotStartSaysWhy(t *testing.T) {
	for mode, c := range map[string]struct {
		is   error // what the error is
		want string
	}{
		"panic-early":     {ErrPluginDied, "the panic-early plugin died (exit status 2)"},
		"exit-early":      {ErrPluginDied, "the exit-early plugin died (exit status 3)"},
		"hang-early":      {ErrUnresponsive, "did not answer within 2s of its start"},
		"hang-describe":   {ErrUnresponsive, "did not answer within 2s of its start"},
		"hang-socket":     {ErrUnresponsive, "did not answer within 2s of its start"},
		"stop-early":      {ErrUnresponsive, "did not answer within 2s of its start"},
		"garbage":         {ErrProtocol, `it printed "hello "`},
		"long-line":       {ErrProtocol, "its handshake"},
		"foreign-socket":  {ErrProtocol, "its socket unix /run/foreign.sock is not in the directory"},
		"dotdot-socket":   {ErrProtocol, "is not in the directory"},
		"link-socket":     {ErrProtocol, "is no socket"},
		"tcp-socket":      {ErrProtocol, "its socket tcp 127.0.0.1:22 is not in the directory"},
		"plain":           {ErrProtocol, "it does not use the TLS that it was offered"},
		"version-two":     {nil, "speaks version 2 of the protocol, and this nspawn-build speaks version 1"},
		"liar":            {ErrProtocol, "calls itself somebody-else"},
		"nameless-cert":   {ErrProtocol, "the nameless-cert plugin: the plugin breaks the protocol (a plugin takes the mutual TLS"},
		"raises-describe": {ErrProtocol, "the raises-describe plugin: the plugin breaks the protocol (a call that fails carries a Failed that says why): Describe ended with Unknown: KeyError: 'release'"},
		"no-service":      {ErrProtocol, "Describe ended with Unimplemented"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			if errors.Is(c.is, ErrUnresponsive) {
				h.StartTimeout = 2 * time.Second
			}
			began := time.Now()
			s, err := h.Start(t.Context(), listing(mode), Grants{})
			if err == nil {
				t.Fatalf("it started; closing it: %v", s.Close())
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %T: %v", err, err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("the message is not clean: %q", err)
			}
		})
	}
}

func TestTheTailOfADeadPluginTellsWhy(t *testing.T) {
	h := newHost(t)
	_, err := h.Start(t.Context(), listing("exit-early"), Grants{})
	var died *DiedError
	if !errors.As(err, &died) || died.Plugin != "exit-early" {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff([]string{"no keyring"}, died.Tail); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = h.Start(t.Context(), listing("version-two"), Grants{})
	var version *VersionError
	if !errors.As(err, &version) || version.Hint() == "" {
		t.Errorf("got %v", err)
	}
}

func TestABootstrapThatGoesWrongSaysHow(t *testing.T) {
	for mode, c := range map[string]struct {
		is   error
		want string
		tail string // in a DiedError
	}{
		"panic":    {ErrPluginDied, "the panic plugin died (exit status 2)", "panic: the plugin's own fault"},
		"silent":   {ErrUnresponsive, "no event for 500ms", ""},
		"stop":     {ErrUnresponsive, "no event for 500ms", ""},
		"no-end":   {ErrProtocol, "the stream ended with no finished or failed event", ""},
		"two-ends": {ErrProtocol, "finished after the finished event", ""},
		"late":     {ErrProtocol, "progress after the finished event", ""},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.Silence = 500 * time.Millisecond
			grants := jobGrants(t)
			s := startGood(t, h, mode, grants)
			_, err := s.Bootstrap(t.Context(), grants.request(), &sdktest.Recorder{})
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %T: %v", err, err)
			}
			var died *DiedError
			if errors.As(err, &died) && !strings.Contains(strings.Join(died.Tail, "\n"), c.tail) {
				t.Errorf("the tail does not say %q: %q", c.tail, died.Tail)
			}
		})
	}
}

func TestAHostThatIsInterruptedWaitsForThePluginOnlySoLong(t *testing.T) {
	for mode, c := range map[string]struct {
		is    error // beside the context's
		limit time.Duration
	}{
		"wait": {nil, 8 * time.Second},
		"deaf": {ErrUnresponsive, 8 * time.Second},
		"stop": {ErrUnresponsive, 8 * time.Second},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			grants := jobGrants(t)
			s := startGood(t, h, mode, grants)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var began time.Time
			_, err := s.Bootstrap(ctx, grants.request(), onLine(func() { began = time.Now(); cancel() }))
			if !errors.Is(err, context.Canceled) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > c.limit {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestACallThatHangsIsGivenUpOn(t *testing.T) {
	h := newHost(t)
	h.CallTimeout = 300 * time.Millisecond
	s := startGood(t, h, "hang-validate", Grants{})
	_, err := s.Validate(t.Context(), sdk.Request{})
	if !errors.Is(err, ErrUnresponsive) || !strings.Contains(err.Error(), "did not answer Validate within 300ms") {
		t.Errorf("got %v", err)
	}
	h.CallTimeout = 0
	s = startGood(t, h, "hang-validate", Grants{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := s.Validate(ctx, sdk.Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAStartThatIsCancelledEndsAtOnce(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := h.Start(ctx, listing("hang-early"), Grants{})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnresponsive) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestWhatAPluginPrintsIsLoggedWithinBounds(t *testing.T) {
	for _, mode := range []string{"flood", "flood-stdout", "json"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			log, hook := logtest.NewNullLogger()
			log.SetLevel(logrus.DebugLevel)
			h.Log = logrus.NewEntry(log)
			grants := jobGrants(t)
			s := startGood(t, h, mode, grants)
			if _, err := s.Bootstrap(t.Context(), grants.request(), &sdktest.Recorder{}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			entries := hook.AllEntries()
			if len(entries) == 0 || len(entries) > maxLogged+1 {
				t.Errorf("%d lines were logged", len(entries))
			}
			for _, e := range entries {
				if len(e.Message) > sdk.MaxText || strings.Contains(e.Message, "\x1b") || e.Data["plugin"] != mode {
					t.Fatalf("logged %q of %d bytes, %v", e.Message[:40], len(e.Message), e.Data)
				}
			}
			if mode == "flood" {
				if tail := s.process.output.lines(); tail[len(tail)-1] != "the last line" {
					t.Errorf("the tail ends with %q", tail[len(tail)-1])
				}
			}
		})
	}
}

func TestSessionsAreIndependent(t *testing.T) {
	h := newHost(t)
	done := make(chan error)
	const count = 8
	for range count {
		grants := jobGrants(t)
		go func() {
			s, err := h.Start(t.Context(), listing("good"), grants)
			if err == nil {
				_, err = s.Bootstrap(t.Context(), grants.request(), &sdktest.Recorder{})
				err = errors.Join(err, s.Close(), s.Close())
			}
			done <- err
		}()
	}
	for range count {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestARequestMustStayWithinItsGrants(t *testing.T) {
	h := newHost(t)
	grants := jobGrants(t)
	s := startGood(t, h, "good", grants)
	req := grants.request()
	req.Target = filepath.Dir(req.Target)
	if _, err := s.Bootstrap(t.Context(), req, &sdktest.Recorder{}); err == nil {
		t.Error("a target that was not granted was taken")
	}
	for _, path := range []string{"/", "relative", "/srv/../etc", "/srv/"} {
		if _, err := h.Start(t.Context(), listing("good"), Grants{Target: path}); err == nil {
			t.Errorf("%q was granted", path)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, link + "-none", "/etc/passwd"} {
		if _, err := h.Start(t.Context(), listing("good"), Grants{Target: path}); err == nil {
			t.Errorf("%s was granted", path)
		}
	}
}

func TestASessionLeavesNoDescriptorOpen(t *testing.T) {
	h := newHost(t)
	once := func(mode string) {
		t.Helper()
		s, err := h.Start(t.Context(), listing(mode), Grants{})
		if err == nil {
			err = s.Close()
		}
		if (err == nil) != (mode == "good") {
			t.Fatalf("%s: %v", mode, err)
		}
	}
	open := func() int {
		t.Helper()
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	once("good") // the runtime opens some for good
	before := open()
	for range 3 {
		for _, mode := range []string{"good", "exit-early", "version-two"} {
			once(mode)
		}
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors were open before, %d are after", before, after)
	}
}
