package main

import (
	"context"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

const ownKeyring = "/etc/keys/own.asc" // a key without end, and one that has expired

// debian is a Debian that has those tools and a keyring.
func debian(t *testing.T, tools ...string) plugin {
	t.Helper()
	keys, err := os.ReadFile("testdata/two-keys.asc")
	if err != nil {
		t.Fatal(err)
	}
	return plugin{sdk.Host{
		Root: fstest.MapFS{
			"etc/os-release":   {Data: []byte("ID=debian\n")},
			"etc/keys/own.asc": {Data: keys, Mode: 0o644},
			"etc/keys/bad.asc": {Data: []byte("hello"), Mode: 0o644},
		},
		Find: func(names ...string) string {
			for _, tool := range tools {
				if tool == names[0] {
					return "/usr/bin/" + tool
				}
			}
			return ""
		},
		Machine: "x86_64",
	}}
}

func tumbleweed() sdk.Request {
	return sdk.Request{
		Distro: "opensuse-tumbleweed", Keyring: ownKeyring, Mirrors: []string{"https://mirror.example.org/tumbleweed/repo/oss"},
	}
}

func leap() sdk.Request {
	req := tumbleweed()
	req.Distro, req.Mirrors = "opensuse-leap", []string{"https://mirror.example.org/leap/$releasever/repo/oss", "https://mirror.example.org/${releasever}/$basearch/"}
	return req
}

func TestCommandsAndFilesAreAsAgreed(t *testing.T) {
	old := leap()
	old.Release, old.Packages = "15.6", []string{"git", "nginx=1.27.2"}
	for name, req := range map[string]sdk.Request{"tumbleweed": tumbleweed(), "leap": leap(), "leap-15.6": old} {
		t.Run(name, func(t *testing.T) {
			p := debian(t, "zypper", "rpm")
			plan, err := p.Plan(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, argv := range plan.Commands {
				b.WriteString(strings.Join(argv, "\n    ") + "\n")
			}
			j, _ := p.resolve(req)
			for i := range j.urls {
				name := "repos/" + repositoryID(i) + ".repo"
				b.WriteString("\n--- " + name + "\n" + j.files()[name])
			}
			text := b.String()
			sdktest.Golden(t, name+".golden", text)
			if strings.Contains(text, "auto-import") || strings.Contains(text, "no-gpg-checks") || strings.Count(text, "\nrepo_gpgcheck=1\n") != len(req.Mirrors) {
				t.Error("signatures are not checked")
			}
		})
	}
}

func TestWhatIsWrongIsSaidBeforeAnythingIsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		field, says string // in the message or the hint
		change      func(*sdk.Request)
	}{
		"another distro":           {"distro", "opensuse-leap", func(r *sdk.Request) { r.Distro = "opensuse" }},
		"no such release":          {"release", "rolling", func(r *sdk.Request) { r.Release = "15.6" }},
		"an architecture":          {"architecture", "host's own", func(r *sdk.Request) { r.Architecture = "aarch64" }},
		"an option":                {"options", "no options", func(r *sdk.Request) { r.Options = map[string]string{"x": "y"} }},
		"no mirror":                {"mirrors", "--mirror 'https://mirror.example.org/tumbleweed/repo/oss'", func(r *sdk.Request) { r.Mirrors = nil }},
		"a mirror without TLS":     {"mirrors", "plain URL", func(r *sdk.Request) { r.Mirrors = []string{"https://a.example.org/?ssl_verify=no"} }},
		"a mirror with a program":  {"mirrors", "plain URL", func(r *sdk.Request) { r.Mirrors = []string{"plugin:/bin/sh"} }},
		"a mirror with a newline":  {"mirrors", "plain URL", func(r *sdk.Request) { r.Mirrors = []string{"https://a.example.org/\ngpgcheck=0"} }},
		"a mirror with a password": {"mirrors", "plain URL", func(r *sdk.Request) { r.Mirrors = []string{"https://me:secret@a.example.org/"} }},
		"a variable of Leap's":     {"mirrors", "plain URL", func(r *sdk.Request) { r.Mirrors = []string{"https://a.example.org/$releasever/"} }},
		"a relative file":          {"mirrors", "plain URL", func(r *sdk.Request) { r.Mirrors = []string{"file://srv/x"} }},
		"no keyring":               {"keyring", "--keyring", func(r *sdk.Request) { r.Keyring = "" }},
		"not a keyring":            {"keyring", "not a keyring", func(r *sdk.Request) { r.Keyring = "/etc/keys/bad.asc" }},
		"a package to remove":      {"packages", "-zypper", func(r *sdk.Request) { r.Packages = []string{"-zypper"} }},
		"a package that is a file": {"packages", "evil.rpm", func(r *sdk.Request) { r.Packages = []string{"/root/evil.rpm"} }},
		"a pattern":                {"packages", "pattern:x", func(r *sdk.Request) { r.Packages = []string{"pattern:x"} }},
	} {
		t.Run(name, func(t *testing.T) {
			req := tumbleweed()
			c.change(&req)
			v, err := debian(t, "zypper", "rpm").Validate(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range v.Diagnostics {
				if d.Severity == sdk.SeverityError && d.Field == c.field && strings.Contains(d.Message+"\n"+d.Hint, c.says) {
					return
				}
			}
			t.Errorf("no error of %s says %q: %+v", c.field, c.says, v.Diagnostics)
		})
	}
}

func TestAToolThatIsMissingIsNamedWithItsPackage(t *testing.T) {
	v, err := debian(t, "rpm").Validate(context.Background(), tumbleweed())
	if err != nil || len(v.Diagnostics) == 0 || v.Diagnostics[0].Hint != "apt-get install zypper" {
		t.Errorf("got %+v, %v", v.Diagnostics, err)
	}
}

func TestAKeyThatHasExpiredIsNotTrusted(t *testing.T) {
	j, found := debian(t, "zypper", "rpm").resolve(tumbleweed())
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	if d := found.Diagnostics(); len(j.keys) != 1 || len(d) != 1 || !strings.Contains(d[0].Message, "has expired") {
		t.Errorf("the keys are %+v, the findings %+v", j.keys, d)
	}
}

func TestProgressIsReadOffWhatZypperPrints(t *testing.T) {
	for line, want := range map[string]sdk.Progress{
		"Retrieving package bash-5.2.37-1.x86_64 (17/138), 659.8 KiB (  1.3 MiB unpacked)": {Done: 17, Total: 138, Unit: "packages", Item: "bash-5.2.37-1.x86_64"},
		"Retrieving: bash-5.2.37-1.x86_64 (mirror-1) (17/138), 659.8 KiB":                  {Done: 17, Total: 138, Unit: "packages", Item: "bash-5.2.37-1.x86_64"},
		"( 32/138) Installing: nano-8.4-1.x86_64 [............done]":                       {Done: 32, Total: 138, Unit: "packages", Item: "nano-8.4-1.x86_64"},
	} {
		var recorder sdktest.Recorder
		r := &run{report: &recorder}
		sdk.Counter(r.report, "packages", downloading)(line)
		sdk.Counter(r.report, "packages", installing)(line)
		if events := recorder.Events(); len(events) != 1 || events[0].Progress != want {
			t.Errorf("%q: got %+v", line, events)
		}
	}
}

func TestPackagesAreReadOffTheDatabase(t *testing.T) {
	p, ok := parsePackage("libacl1|1:2.3.2-2.1|x86_64|acl-2.3.2-2.1.src.rpm|LGPL-2.1-or-later")
	want := sdk.Package{
		Name: "libacl1", Version: "1:2.3.2-2.1", Architecture: "x86_64", Source: "acl", SourceVersion: "2.3.2-2.1", License: "LGPL-2.1-or-later",
	}
	if !ok || p != want || fileName(p) != "libacl1-2.3.2-2.1.x86_64.rpm" {
		t.Errorf("got %+v, %t, %s", p, ok, fileName(p))
	}
	if _, ok := parsePackage("gpg-pubkey|0:1-2|(none)|(none)|pubkey"); ok {
		t.Error("a key is a package")
	}
}

// TestNothingButThePublicSDKIsImported makes it an example of what a stranger
// can do.
func TestNothingButThePublicSDKIsImported(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	const house = "github.com/nspawn-build/nspawn-build/"
	sdk := 0
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			switch name := strings.Trim(i.Path.Value, `"`); {
			case strings.HasPrefix(name, house+"core/sdk"):
				sdk++
			case strings.HasPrefix(name, house) && !strings.HasSuffix(file, "_test.go"):
				t.Errorf("%s imports %s", file, name)
			}
		}
	}
	if sdk == 0 {
		t.Error("it does not import the SDK")
	}
}
