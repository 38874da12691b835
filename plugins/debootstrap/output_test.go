package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// output reads the lines that a tool once printed.
func output(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "output", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	var lines []string
	for in := bufio.NewScanner(f); in.Scan(); {
		lines = append(lines, in.Text())
	}
	return lines
}

func TestAFailureSaysWhatItMeans(t *testing.T) {
	for _, c := range []struct {
		tail []string
		code sdk.Code
		says string
	}{
		{output(t, "altered-apt.txt"), sdk.CodeVerification, "not signed as it should be"},
		{output(t, "altered-debootstrap.txt"), sdk.CodeVerification, "not signed as it should be"},
		{output(t, "other-key-apt.txt"), sdk.CodeVerification, "the key 6ED0E7B82643E131, which is not in the keyring"},
		{output(t, "other-key-debootstrap.txt"), sdk.CodeVerification, "the key 762F67A0B2C39DE4, which is not in the keyring"},
		{output(t, "unreachable-apt.txt"), sdk.CodeMirror, "127.0.0.1:1 cannot be reached"},
		{output(t, "unreachable-debootstrap.txt"), sdk.CodeMirror, "http://127.0.0.1:1/debian/dists/trixie/Release"},
		{output(t, "no-release-apt.txt"), sdk.CodeMirror, "http://mirror.example.org/debian nosuch Release"},
		{output(t, "no-release-debootstrap.txt"), sdk.CodeMirror, "dists/nosuch/Release"},
		{output(t, "no-package-apt.txt"), sdk.CodeInvalidRequest, `no package "nosuch-package" in trixie`},
		{output(t, "full-apt.txt"), sdk.CodeDisk, "the disk is full"},
		{output(t, "full-debootstrap.txt"), sdk.CodeDisk, "the disk is full"},
		{[]string{"E: You don't have enough free space in /srv/tree/var/cache/apt/archives/."}, sdk.CodeDisk, "full"},
		{[]string{"dpkg: error: unable to create new file: Disk quota exceeded"}, sdk.CodeDisk, "quota"},
		{[]string{"tar: ./etc: Cannot mkdir: Read-only file system"}, sdk.CodeDisk, "cannot be written"},
		{
			[]string{"E: Release file for http://mirror.example.org/debian-security/dists/trixie-security/InRelease is expired (invalid since 3d 1h)."},
			sdk.CodeVerification, "is not valid today",
		},
		{
			[]string{"W: GPG error: http://mirror.example.org trixie InRelease: EXPKEYSIG 6ED0E7B82643E131 Key"},
			sdk.CodeVerification, "6ED0E7B82643E131, which has expired",
		},
		{
			[]string{"Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key 4CB50190207B4758A3F73A796ED0E7B82643E131, which is needed to verify signature."},
			sdk.CodeVerification, "4CB50190207B4758A3F73A796ED0E7B82643E131",
		},
		{[]string{"E: Failed to fetch http://mirror.example.org/a.deb  Hash Sum mismatch"}, sdk.CodeVerification, "not what the signed release says"},
		{[]string{"W: http://mirror.example.org/debian/pool/a.deb was corrupt"}, sdk.CodeVerification, "not what"},
		{[]string{"E: Failed to fetch https://m.example.org/x  Certificate verification failed: The certificate is NOT trusted."}, sdk.CodeMirror, "certificate"},
		{[]string{"  Could not resolve 'mirror.example.org'", "E: Some index files failed to download."}, sdk.CodeMirror, "mirror.example.org cannot be resolved"},
		{[]string{"  Temporary failure resolving 'mirror.example.org'"}, sdk.CodeMirror, "mirror.example.org cannot be resolved"},
		{[]string{"E: Failed to fetch http://mirror.example.org/x.deb  404  Not Found [IP: 203.0.113.80 80]"}, sdk.CodeMirror, "http://mirror.example.org/x.deb"},
		{[]string{"E: Asked to install suite trixie, but got stable (codename: bookworm) from mirror"}, sdk.CodeMirror, "under the name of trixie"},
		{[]string{"E: Package 'foo' has no installation candidate"}, sdk.CodeInvalidRequest, `"foo"`},
		{[]string{"E: Version '9' for 'git' was not found"}, sdk.CodeInvalidRequest, `"git"`},
		{[]string{"The following packages have unmet dependencies:"}, sdk.CodeInvalidRequest, "together"},
		{[]string{"something else"}, sdk.CodeTool, "apt-get failed"},
	} {
		r := &run{job: &job{suite: "trixie", components: []string{"main"}}}
		got := r.explain(&sdk.Failure{Code: sdk.CodeTool, Message: "apt-get failed with exit status 100", Tail: c.tail})
		if got.Code != c.code || !strings.Contains(got.Message, c.says) || strings.Contains(got.Message, "%s") {
			t.Errorf("after %q: %d %q, want %d and %q", c.tail, got.Code, got.Message, c.code, c.says)
		}
		if c.code != sdk.CodeTool && got.Hint == "" {
			t.Errorf("%q comes without a hint", got.Message)
		}
		if diff := cmp.Diff(c.tail, got.Tail); diff != "" {
			t.Errorf("the tail is changed (-want +got):\n%s", diff)
		}
	}
}

func TestACancelledToolIsNotExplainedAway(t *testing.T) {
	r := &run{job: &job{}}
	canceled := &sdk.Failure{Code: sdk.CodeCanceled, Message: "x", Tail: []string{"No space left on device"}}
	if got := r.explain(canceled); got.Code != sdk.CodeCanceled {
		t.Errorf("a cancelled tool became %+v", got)
	}
}

func TestErrorsOfFilesAreTheDisks(t *testing.T) {
	for err, want := range map[error]sdk.Code{
		fmt.Errorf("target: %w", syscall.ENOSPC):   sdk.CodeDisk,
		fmt.Errorf("target: %w", syscall.EROFS):    sdk.CodeDisk,
		fmt.Errorf("target: %w", os.ErrPermission): sdk.CodeDisk,
		errors.New("something"):                    sdk.CodeTool,
		&sdk.Failure{Code: sdk.CodeMirror}:         sdk.CodeMirror,
		fmt.Errorf("x: %w", &sdk.Failure{Code: 7}): sdk.CodeCanceled,
	} {
		if got := sdk.AsFailure(err).Code; got != want {
			t.Errorf("%v has the code %d, want %d", err, got, want)
		}
	}
}

// last returns the last progress of each phase.
func last(events []sdktest.Event) map[string]sdk.Progress {
	byPhase := map[string]sdk.Progress{}
	phase := ""
	for _, e := range events {
		switch e.Kind {
		case "phase":
			phase = e.Text
		case "progress":
			byPhase[phase] = e.Progress
		}
	}
	return byPhase
}

func TestProgressOfMmdebstrapCountsEveryPackage(t *testing.T) {
	var recorder sdktest.Recorder
	progress := newInstallation(&recorder, 125)
	for _, line := range output(t, "mmdebstrap.txt") {
		progress.line(line)
	}
	want := map[string]sdk.Progress{
		phaseUnpack:    {Done: 125, Total: 125, Unit: unitPackages, Item: "openssh-server"},
		phaseConfigure: {Done: 125, Total: 125, Unit: unitPackages, Item: "openssh-server"},
	}
	got := last(recorder.Events())
	for phase, p := range got {
		p.Item = "openssh-server"
		got[phase] = p
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress differs (-want +got):\n%s", diff)
	}
	neverShrinks(t, recorder.Events())
}

// neverShrinks checks that what is done of a unit never becomes less in a phase.
func neverShrinks(t *testing.T, events []sdktest.Event) {
	t.Helper()
	var before sdk.Progress
	for _, e := range events {
		if e.Kind == "phase" {
			before = sdk.Progress{}
		}
		if e.Kind != "progress" {
			continue
		}
		if e.Progress.Done < before.Done || e.Progress.Total != 0 && e.Progress.Done > e.Progress.Total {
			t.Fatalf("progress goes from %+v to %+v", before, e.Progress)
		}
		before = e.Progress
	}
}

func TestProgressOfDebootstrapIsItsOwn(t *testing.T) {
	var recorder sdktest.Recorder
	talk := newConversation(&recorder)
	for _, line := range output(t, "debootstrap-fd3.txt") {
		talk.line(line)
	}
	want := []string{phaseIndex, phaseIndex, phaseDownload, phaseUnpack, phaseUnpack, phaseConfigure, phaseConfigure}
	if diff := cmp.Diff(want, recorder.Phases()); diff != "" {
		t.Errorf("phases differ (-want +got):\n%s", diff)
	}
	got := last(recorder.Events())
	if p := got[phaseUnpack]; p.Done != 78 || p.Total != 78 || p.Unit != unitPackages {
		t.Errorf("unpacking ends at %+v", p)
	}
	if p := got[phaseDownload]; p.Done != 78 || p.Total != 78 || p.Unit != unitPackages {
		t.Errorf("downloading ends at %+v", p)
	}
	neverShrinks(t, recorder.Events())
	if len(talk.errors()) != 0 {
		t.Errorf("errors are heard that were not said: %q", talk.errors())
	}
}

func TestErrorsOfDebootstrapBecomeSentences(t *testing.T) {
	var recorder sdktest.Recorder
	talk := newConversation(&recorder)
	for _, line := range []string{
		"E: UNKNOWNRELSIG", "EA: 762F67A0B2C39DE4",
		`EF: Release signed by unknown key (key id %s)\n   The specified keyring may be incorrect`,
		"W: KEYRING", "WF: Something", "nonsense", "P: x y z", "P: 1 2 NOSUCHSTEP", "P: 1 2", "P:",
	} {
		talk.line(line)
	}
	want := []string{"E: Release signed by unknown key (key id 762F67A0B2C39DE4)"}
	if diff := cmp.Diff(want, talk.errors()); diff != "" {
		t.Errorf("errors differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(want, "W: Something"), recorder.Lines()); diff != "" {
		t.Errorf("lines differ (-want +got):\n%s", diff)
	}
	if len(recorder.Phases()) != 0 {
		t.Errorf("phases %q come from nowhere", recorder.Phases())
	}
}

func TestProgressOfADownloadCountsFiles(t *testing.T) {
	var recorder sdktest.Recorder
	see := sdk.Counter(&recorder, unitPackages, retrieving)
	for _, line := range []string{
		"dlstatus:1:0:Retrieving file 1 of 125",
		"dlstatus:125:99.0713:Retrieving file 125 of 125 (0s remaining)",
		"pmstatus:dpkg-exec:0:Running dpkg", "dlstatus:1:0:Retrieving file x of y", "",
	} {
		see(line)
	}
	want := []sdktest.Event{
		{Kind: "progress", Progress: sdk.Progress{Done: 1, Total: 125, Unit: unitPackages}},
		{Kind: "progress", Progress: sdk.Progress{Done: 125, Total: 125, Unit: unitPackages}},
	}
	if diff := cmp.Diff(want, recorder.Events()); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func TestOnlyPackagesWithADigestAreTakenFromTheCache(t *testing.T) {
	const digest = "6e1f2ce7e3b4ad3ad2a1a8d2a9c7ac0d27f3a9cf0cb3b9b4b7c2b9a1f0e4d3c2"
	for line, want := range map[string]download{
		"'http://mirror.example.org/debian/pool/main/a/apt/apt_3.0%7e1_amd64.deb' apt_3.0~1_amd64.deb 12 SHA256:" + digest: {
			name: "apt_3.0~1_amd64.deb", digest: digest,
		},
		"'copy:///srv/x/libcap2_1%253a2_amd64.deb' libcap2_1%3a2_amd64.deb 12 SHA256:" + digest:  {name: "libcap2_1%3a2_amd64.deb", digest: digest},
		"'http://mirror.example.org/apt.deb' apt.deb 12 MD5Sum:a35c85d15d1816ae4af605d12568a205": {},
		"'http://mirror.example.org/apt.deb' ../apt.deb 12 SHA256:" + digest:                     {},
		"'http://mirror.example.org/apt.deb' .deb 12 SHA256:" + digest:                           {},
		"Reading package lists...": {},
	} {
		got, ok := parseDownload(line)
		if got != want || ok != (want != download{}) {
			t.Errorf("%q gives %+v %v, want %+v", line, got, ok, want)
		}
	}
}
