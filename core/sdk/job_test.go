package sdk

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// tally counts what is reported and keeps the progress.
type tally struct {
	lines, warnings, phases int
	progress                []Progress
}

func (t *tally) Phase(string)           { t.phases++ }
func (t *tally) Progress(p Progress)    { t.progress = append(t.progress, p) }
func (t *tally) Line(string)            { t.lines++ }
func (t *tally) Warning(string, string) { t.warnings++ }

func lineEvent(text string) *pb.BootstrapResponse {
	return &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Line{Line: &pb.Line{Text: text}}}
}

func TestAJobMaySayOnlySoMuch(t *testing.T) {
	var heard tally
	j := &job{report: &heard}
	event := lineEvent("x")
	for range maxEvents {
		if err := j.take(event); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.take(event); !errors.Is(err, ErrProtocol) || heard.lines != maxEvents {
		t.Errorf("after %d lines: %v", heard.lines, err)
	}

	j = &job{report: &heard}
	for range 2 * maxWarnings {
		err := j.take(&pb.BootstrapResponse{Event: &pb.BootstrapResponse_Warning{Warning: &pb.Warning{Message: "w"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if heard.warnings != maxWarnings {
		t.Errorf("%d warnings were passed on, want %d", heard.warnings, maxWarnings)
	}
}

func TestProgressNeverShrinksAndNeverExceedsItsTotal(t *testing.T) {
	type step struct {
		phase       bool // a new one begins
		done, total uint64
		unit        string
		want        Progress
	}
	for name, steps := range map[string][]step{
		"shrinks": {
			{done: 5, total: 10, want: Progress{Done: 5, Total: 10}},
			{done: 3, total: 10, want: Progress{Done: 5, Total: 10}},
			{done: 6, total: 8, want: Progress{Done: 6, Total: 10}},
		},
		"exceeds": {
			{done: 11, total: 10, want: Progress{Done: 10, Total: 10}},
			{done: ^uint64(0), total: 20, want: Progress{Done: 20, Total: 20}},
		},
		"total becomes known": {
			{done: 5, want: Progress{Done: 5}},
			{done: 6, total: 10, want: Progress{Done: 6, Total: 10}},
			{done: 7, want: Progress{Done: 7, Total: 10}},
		},
		"a new phase": {
			{done: 5, total: 5, want: Progress{Done: 5, Total: 5}},
			{phase: true, done: 1, total: 2, want: Progress{Done: 1, Total: 2}},
		},
		"another unit": {
			{done: 5, total: 5, unit: "packages", want: Progress{Done: 5, Total: 5, Unit: "packages"}},
			{done: 1, total: 9, unit: "bytes", want: Progress{Done: 1, Total: 9, Unit: "bytes"}},
		},
	} {
		var heard tally
		j := &job{report: &heard}
		var want []Progress
		for _, s := range steps {
			if s.phase {
				if err := j.take(&pb.BootstrapResponse{Event: &pb.BootstrapResponse_Phase{Phase: &pb.Phase{Name: "p"}}}); err != nil {
					t.Fatal(err)
				}
			}
			p := &pb.Progress{Done: s.done, Total: s.total, Unit: s.unit}
			if err := j.take(&pb.BootstrapResponse{Event: &pb.BootstrapResponse_Progress{Progress: p}}); err != nil {
				t.Fatal(err)
			}
			want = append(want, s.want)
		}
		if diff := cmp.Diff(want, heard.progress); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhatAPluginSaidBeforeItBrokeOffIsTheCause(t *testing.T) {
	cause := errors.New("connection reset")
	j := &job{report: &tally{}}
	if err := j.broken(t.Context(), cause); !errors.Is(err, cause) {
		t.Errorf("nothing said: %v", err)
	}
	failed := &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Failed{Failed: &pb.Failed{Message: "disk full"}}}
	if err := j.take(failed); err != nil {
		t.Fatal(err)
	}
	if err := j.broken(t.Context(), cause); err.Error() != "disk full" {
		t.Errorf("after a failed event: %v", err)
	}
}

func TestAFailureIsBoundedOnItsWay(t *testing.T) {
	long := make([]string, 3*maxTail)
	for i := range long {
		long[i] = strings.Repeat("x", 2*MaxText)
	}
	long[len(long)-1] = "\x1b[31mthe last\x1b[0m"
	for name, got := range map[string]*Failure{
		"sent":     failureFromProto(failureToProto(&Failure{Code: CodeDisk, Message: long[0], Tail: long})),
		"received": failureFromProto(&pb.Failed{Code: pb.FailureCode(CodeDisk), Message: long[0], Tail: long}),
	} {
		if len(got.Tail) != maxTail || got.Tail[maxTail-1] != "the last" || len(got.Message) > MaxText || got.Code != CodeDisk {
			t.Errorf("%s: %d lines that end with %q, a message of %d bytes, code %d",
				name, len(got.Tail), got.Tail[len(got.Tail)-1], len(got.Message), got.Code)
		}
	}
	if got := failureFromProto(&pb.Failed{}); got.Message == "" || got.Code != CodeTool {
		t.Errorf("a failure that says nothing became %+v", got)
	}
}

// TestTheCodesAreThoseOfTheProtocol holds the Go constants and the schema
// together: they are converted by number.
func TestTheCodesAreThoseOfTheProtocol(t *testing.T) {
	want := map[Code]string{
		CodeUnspecified: "FAILURE_CODE_UNSPECIFIED", CodeInvalidRequest: "FAILURE_CODE_INVALID_REQUEST",
		CodeHostNotReady: "FAILURE_CODE_HOST_NOT_READY", CodeMirror: "FAILURE_CODE_MIRROR",
		CodeVerification: "FAILURE_CODE_VERIFICATION", CodeDisk: "FAILURE_CODE_DISK",
		CodeTool: "FAILURE_CODE_TOOL", CodeCanceled: "FAILURE_CODE_CANCELED",
	}
	got := map[Code]string{}
	for number, name := range pb.FailureCode_name {
		got[Code(number)] = name
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	severities := map[int32]string{
		0: "SEVERITY_UNSPECIFIED", int32(SeverityWarning): "SEVERITY_WARNING", int32(SeverityError): "SEVERITY_ERROR",
	}
	if diff := cmp.Diff(severities, pb.Severity_name); diff != "" {
		t.Errorf("severities (-want +got):\n%s", diff)
	}
}

func TestNoStringIsSentThatProtobufRefuses(t *testing.T) {
	const bad = "a\xffb"
	d := validated(descriptionToProto(Description{
		Name: bad, Distros: []Distro{{Title: bad, Releases: []string{bad, "ok"}}},
		Tools: []ToolNeed{{Packages: map[string]string{bad: bad, "debian": "ok"}}},
	}))
	want := Description{
		Name: "a\ufffdb", Distros: []Distro{{Title: "a\ufffdb", Releases: []string{"a\ufffdb", "ok"}}},
		Tools: []ToolNeed{{Packages: map[string]string{"a\ufffdb": "a\ufffdb", "debian": "ok"}}},
	}
	if diff := cmp.Diff(want, descriptionFromProto(d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnitsAndHostsAreNamesAndNothingElse(t *testing.T) {
	for unit, want := range map[string]bool{
		"ssh.service": true, "getty@tty1.service": true, `dev-disk-by\x2duuid.swap`: true, "a.b.target": true,
		"systemd-networkd.socket": true, "_x.path": true,
		"": false, ".service": false, "ssh": false, "-x.service": false, "a/b.service": false, "../a.service": false,
		"a..service": false, "a b.service": false, "a\n.service": false, "%i.service": false, "ssh.service ": false,
		strings.Repeat("a", 300) + ".service": false, "a.exe": false,
	} {
		_, err := checkFacts(Facts{SSHUnits: []string{unit}})
		if (err == nil) != want {
			t.Errorf("unit %q: %v", unit, err)
		}
	}
	for host, want := range map[string]bool{
		"": true, "mirror.example.org": true, "localhost": true, "a-b.example.": true, "192.0.2.1": true,
		"-a": false, "a b": false, "a/b": false, "http://a": false, "a..b": false, "a\n": false, "@": false,
		strings.Repeat("a.", 200): false,
	} {
		_, err := checkFacts(Facts{ProbeHost: host})
		if (err == nil) != want {
			t.Errorf("host %q: %v", host, err)
		}
	}
}
