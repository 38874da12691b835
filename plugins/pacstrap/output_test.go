package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// output reads the lines that pacstrap once printed. The number at the end of
// the file's name is the version of pacman.
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
	r := &run{job: &job{release: rolling}}
	for _, c := range []struct {
		file, says string
		code       sdk.Code
	}{
		{"tampered-6", "which is not what was signed", sdk.CodeVerification},
		{"tampered-7.1", "which is not what was signed", sdk.CodeVerification},
		{"tampereddb-7.1", "core is not what was signed", sdk.CodeVerification},
		{"unsigned-6", "which-5.23.2-1-x86_64.pkg.tar.zst is not signed", sdk.CodeVerification},
		{"unsigned-7.1", "which-5.23.2-1-x86_64.pkg.tar.zst is not signed", sdk.CodeVerification},
		{"unsigneddb-6", "core.db is not signed", sdk.CodeVerification},
		{"unsigneddb-7.1", "core.db is not signed", sdk.CodeVerification},
		{"wrongkey-6", "the key 2C232747AC6B8D3C, which is not in the keyring", sdk.CodeVerification},
		{"wrongkey-7.1", "the key 5526143FEC17E334, which is not in the keyring", sdk.CodeVerification},
		{"otherkey-6", "the key 4B5B277328ADBA46, which is not in the keyring", sdk.CodeVerification},
		{"otherkeydb-6", "the key 96C4D147101133DB726021C94B5B277328ADBA46, which is not", sdk.CodeVerification},
		{"otherkeydb-7.1", "the key 96C4D147101133DB726021C94B5B277328ADBA46, which is not", sdk.CodeVerification},
		{"expired-6", "signed with a key that is not trusted", sdk.CodeVerification},
		{"expired-7.1", "the key 4B5B277328ADBA46, which is not in the keyring", sdk.CodeVerification},
		{"missing-6", "lacks the file which-5.23.2-1-x86_64.pkg.tar.zst", sdk.CodeMirror},
		{"missing-7.1", "lacks the file which-5.23.2-1-x86_64.pkg.tar.zst", sdk.CodeMirror},
		{"nodir-6", "lacks the file core.db", sdk.CodeMirror},
		{"nodir-7.1", "lacks the file core.db", sdk.CodeMirror},
		{"notfound-6", "lacks the file core.db", sdk.CodeMirror},
		{"unreachable-6", "127.0.0.1:1 cannot be reached", sdk.CodeMirror},
		{"unreachable-7.1", "127.0.0.1:1 cannot be reached", sdk.CodeMirror},
		{"unresolvable-6", "mirror.invalid cannot be resolved", sdk.CodeMirror},
		{"unresolvable-7.1", "mirror.invalid cannot be resolved", sdk.CodeMirror},
		{"nosuch-6", `no package or group "nosuch-package"`, sdk.CodeInvalidRequest},
		{"nosuch-7.1", `no package or group "nosuch-package"`, sdk.CodeInvalidRequest},
		{"full-6", "the disk is full", sdk.CodeDisk},
		{"full-7.1", "the disk is full", sdk.CodeDisk},
		{"fullnocheck-6", "the disk is full", sdk.CodeDisk},
		{"fullnocheck-7.1", "the disk is full", sdk.CodeDisk},
	} {
		tail := sdk.Tail{}
		for _, line := range output(t, c.file+".txt") {
			tail.Add(line)
		}
		got := r.explain(&sdk.Failure{Code: sdk.CodeTool, Message: "pacstrap failed", Tail: tail.Lines()})
		if got.Code != c.code || !strings.Contains(got.Message, c.says) || got.Hint == "" || len(got.Tail) == 0 {
			t.Errorf("%s: got %d %q with the hint %q, want %d with %q", c.file, got.Code, got.Message, got.Hint, c.code, c.says)
		}
	}
}

// TestLinesOfPacmanAreUnderstood has lines out of pacman's and curl's sources
// that no test repository can cause.
func TestLinesOfPacmanAreUnderstood(t *testing.T) {
	r := &run{job: &job{release: rolling}}
	for line, c := range map[string]struct {
		code sdk.Code
		says string
	}{
		"error: unresolvable package conflicts detected":                                                                     {sdk.CodeInvalidRequest, "together"},
		"error: failed to prepare transaction (conflicting dependencies)":                                                    {sdk.CodeInvalidRequest, "together"},
		`error: failed to prepare transaction (could not satisfy dependencies)`:                                              {sdk.CodeMirror, "lacks"},
		`:: unable to satisfy dependency 'libfoo' required by bar`:                                                           {sdk.CodeMirror, "libfoo"},
		"busybox: /srv/tree/usr/bin/sh exists in filesystem (owned by bash)":                                                 {sdk.CodeInvalidRequest, "/srv/tree/usr/bin/sh"},
		"error: GPGME error: No data":                                                                                        {sdk.CodeTool, "failed"},
		`error: bash: signature from "A B <a@example.org>" is marginal trust`:                                                {sdk.CodeVerification, "bash"},
		`error: bash: signature from "A B <a@example.org>" is expired`:                                                       {sdk.CodeVerification, "bash is of a key that has expired"},
		"error: bash: missing required signature":                                                                            {sdk.CodeVerification, "bash is not signed"},
		"error: failed retrieving file 'core.db' from a.example.org : Operation too slow. Less than 1 bytes/sec transferred": {sdk.CodeMirror, "a.example.org cannot be reached"},
		"error: failed retrieving file 'core.db' from a.example.org : Connection timed out after 10001 milliseconds":         {sdk.CodeMirror, "a.example.org cannot be reached"},
		"error: failed retrieving file 'core.db' from a.example.org : SSL certificate problem: certificate is not yet valid": {sdk.CodeMirror, "certificate"},
		"error: database 'core' is not valid (invalid or corrupted database (PGP signature))":                                {sdk.CodeVerification, "core"},
		"error: could not open file /srv/tree/var/lib/pacman/sync/core.db: Unrecognized archive format":                      {sdk.CodeMirror, "lacks"},
		"==> ERROR: The keyring file /usr/share/keyrings/archlinux.gpg does not exist.":                                      {sdk.CodeHostNotReady, "/usr/share/keyrings/archlinux.gpg"},
		"==> ERROR: 91FFE0700E80619CEB73235CA88E23E377514E00 could not be locally signed.":                                   {sdk.CodeVerification, "91FFE0700E80619CEB73235CA88E23E377514E00"},
		"error: could not open file /srv/tree/usr/bin/x: No space left on device":                                            {sdk.CodeDisk, "full"},
		"error: could not extract /srv/tree/usr/bin/x (Can't create '/srv/tree/usr/bin/x')":                                  {sdk.CodeDisk, "/srv/tree/usr/bin/x"},
	} {
		got := r.explain(&sdk.Failure{Code: sdk.CodeTool, Message: "pacstrap failed", Tail: []string{line}})
		if got.Code != c.code || !strings.Contains(got.Message, c.says) {
			t.Errorf("%q is taken for %d %q, want %d with %q", line, got.Code, got.Message, c.code, c.says)
		}
	}
}

// ends says where each phase got to.
func ends(t *testing.T, lines []string, cached bool) ([]string, map[string]sdk.Progress, *sdktest.Recorder) {
	t.Helper()
	var recorder sdktest.Recorder
	i := &installation{report: &recorder, cached: cached}
	for _, line := range lines {
		i.line(line)
	}
	i.warn()
	var phases []string
	last := map[string]sdk.Progress{}
	for _, e := range recorder.Events() {
		switch e.Kind {
		case "phase":
			phases = append(phases, e.Text)
		case "progress":
			last[phases[len(phases)-1]] = e.Progress
		}
	}
	return phases, last, &recorder
}

func TestProgressIsReadFromWhatPacmanPrints(t *testing.T) {
	for _, version := range []string{"6", "7.1"} {
		phases, last, recorder := ends(t, output(t, "good-"+version+".txt"), false)
		want := []string{phaseIndex, phaseDownload, phaseVerify, phaseUnpack, phaseConfigure}
		if diff := cmp.Diff(want, phases); diff != "" {
			t.Errorf("pacman %s: phases differ (-want +got):\n%s", version, diff)
		}
		for _, phase := range []string{phaseDownload, phaseUnpack} {
			if p := last[phase]; p.Total != 108 || p.Done != 108 || p.Unit != unitPackages || p.Item == "" {
				t.Errorf("pacman %s: %s ends at %+v", version, phase, p)
			}
		}
		if p := last[phaseConfigure]; p.Done != 2 || p.Total != 2 || p.Item != "Creating temporary files" {
			t.Errorf("pacman %s: hooks end at %+v", version, p)
		}
		if warnings := recorder.Warnings(); len(warnings) > 0 {
			t.Errorf("pacman %s: %q", version, warnings)
		}
	}
	_, last, _ := ends(t, []string{"Packages (9) a-1  b-1", ":: Retrieving packages...", " a-1-any downloading..."}, true)
	if p := last[phaseDownload]; p.Done != 1 || p.Total != 0 {
		t.Errorf("with a cache the download is at %+v", p)
	}
	_, last, _ = ends(t, []string{"Package (1) a-1", ":: Processing package changes...", "(1/1) installing a"}, false)
	if p := last[phaseUnpack]; p.Done != 1 || p.Total != 1 || p.Item != "a" {
		t.Errorf("with counts the installation is at %+v", p)
	}
}

func TestAScriptThatFailedIsTold(t *testing.T) {
	_, _, recorder := ends(t, []string{"installing a...", "/tmp/alpm_x: line 3: nosuch: command not found", "error: command failed to execute correctly"}, false)
	if warnings := recorder.Warnings(); len(warnings) != 1 || !strings.Contains(warnings[0], "nosuch: command not found") {
		t.Errorf("the warnings are %q", warnings)
	}
}

const listing = `tru::1:1795478946:0:3:1:5
pub:f:3072:1:4B5B277328ADBA46:1795478920:::-:::scSC::::::23::0:
fpr:::::::::96C4D147101133DB726021C94B5B277328ADBA46:
uid:f::::1795478920::1111111111111111111111111111111111111111::A B <a@example.org>::::::::::0:
sub:f:3072:1:5555555555555555:1795478920::::::e::::::23:
fpr:::::::::9999999999999999999999999999999999999999:
pub:e:3072:1:4B5B277328ADBA47:1795478920:1795478930::-:::sc::::::23::0:
fpr:::::::::96C4D147101133DB726021C94B5B277328ADBA47:
pub:r:3072:1:4B5B277328ADBA48:1795478920:::-:::sc::::::23::0:
fpr:::::::::96C4D147101133DB726021C94B5B277328ADBA48:
pub:-:3072:1:4B5B277328ADBA49:1700000000:1700000001::-:::sc::::::23::0:
fpr:::::::::96C4D147101133DB726021C94B5B277328ADBA49:
`

func TestOnlyKeysThatHoldAreTrusted(t *testing.T) {
	keys := parseKeys(strings.Split(listing, "\n"))
	var got []string
	for _, k := range keys {
		got = append(got, k.fingerprint[36:]+" "+k.unusable(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)))
	}
	want := []string{"BA46 ", "BA47 has expired", "BA48 is revoked", "BA49 has expired"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
	if !trustsAny(keys) || trustsAny(keys[1:]) {
		t.Error("the wrong key is taken for a fully valid one")
	}
}

func TestAKeyringWithoutAKeyThatHoldsIsRefused(t *testing.T) {
	var recorder sdktest.Recorder
	r := &run{job: &job{keyring: keyring{path: "/etc/keys/own.asc", own: true}}, host: debianHost(), report: &recorder}
	keys := parseKeys(strings.Split(listing, "\n"))
	_, err := r.usable(keys[1:])
	if failure := sdk.AsFailure(err); failure.Code != sdk.CodeVerification || failure.Hint == "" ||
		!strings.Contains(failure.Message, "96C4D147101133DB726021C94B5B277328ADBA47 has expired") {
		t.Errorf("the failure is %+v", failure)
	}
	got, err := r.usable(keys)
	if err != nil || len(got) != 1 || len(recorder.Warnings()) != 3 {
		t.Errorf("%v are trusted, with the warnings %q, %v", got, recorder.Warnings(), err)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(listing)
	f.Add("pub:::::::\nfpr:::::::::x:\nfpr\npub")
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range parseKeys(strings.Split(text, "\n")) {
			if !fingerprintForm(k.fingerprint) {
				t.Errorf("%q is no fingerprint", k.fingerprint)
			}
		}
	})
}

func FuzzProgressNeverExceedsItsTotal(f *testing.F) {
	f.Add("Packages (2) a b\n:: Processing package changes...\ninstalling a...\n:: Running post-transaction hooks...\n(1/2) x...")
	f.Fuzz(func(t *testing.T, text string) {
		var recorder sdktest.Recorder
		i := &installation{report: &recorder}
		for line := range strings.SplitSeq(text, "\n") {
			i.line(line)
		}
		for _, e := range recorder.Events() {
			if p := e.Progress; p.Total > 0 && p.Done > p.Total {
				t.Errorf("%d of %d", p.Done, p.Total)
			}
		}
	})
}
