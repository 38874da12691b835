package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// TestAFailureSaysWhatItMeans has lines that dnf 4.14, 4.23 and dnf5 5.4 printed.
func TestAFailureSaysWhatItMeans(t *testing.T) {
	for _, c := range []struct {
		tail string
		code sdk.Code
		says string
	}{
		{"Error: Unable to find a match: nosuch-package", sdk.CodeInvalidRequest, "no package nosuch-package"},
		{"No match for argument: nosuch-package", sdk.CodeInvalidRequest, "no package nosuch-package"},
		{"  - Curl error (7): Could not connect to server for http://127.0.0.1:1/44/x86_64/repodata/repomd.xml [Failed to connect to 127.0.0.1 port 1 after 0 ms: Could not connect to server]", sdk.CodeMirror, "cannot be reached: http://127.0.0.1:1/"},
		{"  - Status code: 404 for http://fedora.example.org/44/x86_64/repodata/repomd.xml (IP: 203.0.113.6)", sdk.CodeMirror, "lacks a file: http://fedora.example.org/44"},
		{"  python3-dnf-4.23.0-1.fc43.noarch: Download failed: Curl error (23): Failed writing received data to disk/application for http://fedora.example.org/x.rpm", sdk.CodeDisk, "full"},
		{"Package basesystem-11-1.fc43.noarch.rpm is not signed", sdk.CodeVerification, "basesystem-11-1.fc43.noarch.rpm is not signed"},
		{"Public key for sed-4.9-1.fc43.x86_64.rpm is not installed. Failing package is: sed-4.9-1.fc43.x86_64", sdk.CodeVerification, "sed-4.9-1.fc43.x86_64.rpm is not signed"},
		{"  - Downloading successful, but checksum doesn't match. Calculated: 67(sha256)  Expected: bf(sha256) ", sdk.CodeVerification, "not what the index says"},
		{`OpenPGP check for package "basesystem-11-1.fc43.noarch" (/x.rpm) from repo "mirror-1" has failed: Import of the key didn't help, wrong key?`, sdk.CodeVerification, "basesystem-11-1.fc43.noarch is not signed"},
		{`OpenPGP check for package "basesystem-11-1.fc43.noarch" (/x.rpm) from repo "mirror-1" has failed: The package is not signed.`, sdk.CodeVerification, "basesystem-11-1.fc43.noarch is not signed"},
		{`OpenPGP check for package "basesystem-11-1.fc43.noarch" (/x.rpm) from repo "mirror-1" has failed: Problem occurred when opening the package.`, sdk.CodeVerification, "basesystem-11-1.fc43.noarch is not what was signed"},
		{" Librepo error: Cannot download basesystem-11-1.fc43.noarch.rpm: All mirrors were tried", sdk.CodeMirror, "lacks the file basesystem-11-1.fc43.noarch.rpm"},
		{"Error: GPG check FAILED", sdk.CodeVerification, "in question is not what was signed"},
		{"something that nobody has seen before", sdk.CodeTool, "dnf failed"},
	} {
		r := &run{job: &job{engine: engine{program: "dnf"}}}
		got := r.explain(&sdk.Failure{Code: sdk.CodeTool, Message: "dnf failed", Tail: []string{"noise", c.tail}})
		if got.Code != c.code || !strings.Contains(got.Message, c.says) || strings.Contains(got.Message, "%s") || got.Hint == "" {
			t.Errorf("after %q: %d %q with the hint %q, want %d and %q", c.tail, got.Code, got.Message, got.Hint, c.code, c.says)
		}
	}
}

func TestProgressOfBothIsCounted(t *testing.T) {
	type step struct {
		phase string
		last  sdk.Progress
	}
	for name, c := range map[string]struct {
		download, install string
		want              []step
	}{
		"dnf 4": {
			`Install  166 Packages

(1/166): bash-5.2.37-1.fc43.x86_64.rpm   1.2 MB/s | 660 kB     00:00
(166/166): libpython3.13-stdlib-3.13.5-1.fc43.x8 143 MB/s | 2.6 MB     00:00`,
			`Running transaction check
Running transaction
  Installing       : glibc-2.41-1.fc43.x86_64                               9/166
  Installing       : zstd-1.5.7-1.fc43.x86_64                             166/166
  Verifying        : bash-5.2.37-1.fc43.x86_64                              2/166
  Verifying        : zstd-1.5.7-1.fc43.x86_64                             166/166`,
			[]step{
				{phaseIndex, sdk.Progress{}},
				{phaseDownload, sdk.Progress{Done: 166, Total: 166, Unit: unitPackages, Item: "libpython3.13-stdlib-3.13.5-1.fc43.x8"}},
				{phaseInstall, sdk.Progress{Done: 166, Total: 166, Unit: unitPackages, Item: "zstd-1.5.7-1.fc43.x86_64"}},
				{phaseVerify, sdk.Progress{Done: 166, Total: 166, Unit: unitPackages, Item: "zstd-1.5.7-1.fc43.x86_64"}},
			},
		},
		"dnf5": {
			`[ 12/166] bash-0:5.2.37-1.fc43.x86_64 100% |   1.2 MiB/s | 660.0 KiB |  00m00s
[166/166] zstd-0:1.5.7-1.fc43.x86_64 100% |   1.2 MiB/s | 660.0 KiB |  00m00s
[166/166] Total 100% |  93.1 MiB/s |  59.0 MiB |  00m01s`,
			`Running transaction
[  1/168] Verify package files          100% |   1.0 KiB/s | 166.0   B |  00m00s
[166/168] Installing hostname-0:3.25-1. 100% |   8.8 MiB/s |  27.0 KiB |  00m00s
[168/168] Installing zstd-0:1.5.7-1.fc4 100% |   8.8 MiB/s |  27.0 KiB |  00m00s`,
			[]step{
				{phaseIndex, sdk.Progress{}},
				{phaseDownload, sdk.Progress{Done: 166, Total: 166, Unit: unitPackages, Item: "zstd-0:1.5.7-1.fc43.x86_64"}},
				{phaseInstall, sdk.Progress{Done: 168, Total: 168, Unit: unitPackages, Item: "zstd-0:1.5.7-1.fc4"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var recorder sdktest.Recorder
			p := newProgress(&recorder)
			for line := range strings.SplitSeq(c.download, "\n") {
				p.downloading(line)
			}
			for line := range strings.SplitSeq(c.install, "\n") {
				p.installing(line)
			}
			var got []step
			for _, e := range recorder.Events() {
				switch e.Kind {
				case "phase":
					got = append(got, step{phase: e.Text})
				case "progress":
					got[len(got)-1].last = e.Progress
				}
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(step{})); diff != "" {
				t.Errorf("what the user sees differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAScriptThatFailsIsWarnedOfOnce(t *testing.T) {
	var recorder sdktest.Recorder
	p := newProgress(&recorder)
	for range 2 {
		p.installing("warning: %post(systemd-257.13-1.fc43.x86_64) scriptlet failed, exit status 1")
	}
	if got := recorder.Warnings(); len(got) != 1 || !strings.Contains(got[0], "systemd-257.13-1.fc43.x86_64") {
		t.Errorf("the warnings are %q", got)
	}
}

func TestPackagesAreReadAsRpmListsThem(t *testing.T) {
	for line, want := range map[string]sdk.Package{
		"bash|0:5.2.37-1.fc43|x86_64|bash-5.2.37-1.fc43.src.rpm|GPL-3.0-or-later": {
			Name: "bash", Version: "5.2.37-1.fc43", Architecture: "x86_64",
			Source: "bash", SourceVersion: "5.2.37-1.fc43", License: "GPL-3.0-or-later",
		},
		"openssl-libs|1:3.5.9-1.fc43|x86_64|openssl-3.5.9-1.fc43.nosrc.rpm|A|B": {
			Name: "openssl-libs", Version: "1:3.5.9-1.fc43", Architecture: "x86_64",
			Source: "openssl", SourceVersion: "3.5.9-1.fc43", License: "A|B",
		},
		"odd|0:1-1|noarch|(none)|MIT":                       {Name: "odd", Version: "1-1", Architecture: "noarch", License: "MIT"},
		"gpg-pubkey|0:31645531-66cf6b4a|none|(none)|pubkey": {},
		"":                   {},
		"warning: something": {},
	} {
		if got, ok := parsePackage(line); got != want || ok != (want.Name != "") {
			t.Errorf("%q is %+v, %t", line, got, ok)
		}
	}
	installed := []sdk.Package{{Name: "bash", Version: "0:5.2.37-1.fc43", Architecture: "x86_64"}}
	asked := []string{"bash", "bash.x86_64", "bash-5.2.37", "bash-5.2.37-1.fc43.x86_64", "bash.i686", "bash-5.3", "zsh"}
	if diff := cmp.Diff([]string{"bash.i686", "bash-5.3", "zsh"}, missingPackages(asked, installed)); diff != "" {
		t.Errorf("missing differ (-want +got):\n%s", diff)
	}
}

func FuzzProgressNeverExceedsItsTotal(f *testing.F) {
	f.Add("(3/2): a\n[ 9/ 3] b 1% |\nRunning transaction\n  Installing : c 5/4")
	f.Fuzz(func(t *testing.T, text string) {
		var recorder sdktest.Recorder
		p := newProgress(&recorder)
		for line := range strings.SplitSeq(text, "\n") {
			p.downloading(line)
			p.installing(line)
		}
		for _, e := range recorder.Events() {
			if p := e.Progress; p.Total > 0 && p.Done > p.Total {
				t.Errorf("%d of %d", p.Done, p.Total)
			}
		}
	})
}
