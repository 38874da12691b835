package spec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestWhatIsDoneToATreeIsRead(t *testing.T) {
	s, err := spec.Build(spec.Input{
		Name: "box", Distro: "debian", Directory: "/srv", Snapshot: "2026-11-01",
		Copies: []string{"/srv/app:/opt/app", `/a\:b:/etc/`}, Scripts: []string{"/srv/../srv/setup.sh"},
		Hooks: []string{"after:services:systemctl mask x.service", "before:boot: echo a:b "}, ScriptNetwork: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := spec.Customize{
		Copies:  []spec.Copy{{Source: "/srv/app", Target: "/opt/app"}, {Source: "/a:b", Target: "/etc/"}},
		Scripts: []string{"/srv/setup.sh"}, Network: true,
		Hooks: []spec.Hook{
			{Point: spec.HookAfter, Stage: "services", Command: "systemctl mask x.service"},
			{Point: spec.HookBefore, Stage: "boot", Command: "echo a:b"},
		},
	}
	if diff := cmp.Diff(want, s.Customize); diff != "" || s.Snapshot != "2026-11-01" {
		t.Errorf("(-want +got):\n%s%s", diff, s.Snapshot)
	}
	if own := s.Customize.Own(spec.HookBefore, "boot"); len(own) != 1 || own[0] != 1 {
		t.Errorf("the hooks before boot are %v", own)
	}
	if bad := s.Customize.Unmade(); len(bad) != 1 || !strings.Contains(bad[0].Error(), "before:boot") {
		t.Errorf("an image has no stage for %v", bad)
	}
}

func TestWhatCannotBeDoneToATreeIsRefusedWithAHint(t *testing.T) {
	for want, in := range map[string]spec.Input{
		`customize.copy: "/a" is not a source and a target`:                 {Copies: []string{"/a"}},
		`customize.copy: "a:/b" holds a path that is not absolute`:          {Copies: []string{"a:/b"}},
		`customize.copy: "/a:/b/../../c" holds a path with ..`:              {Copies: []string{"/a:/b/../../c"}},
		`customize.copy: "/a:/run/x" has a target where`:                    {Copies: []string{"/a:/run/x"}},
		`customize.copy: "/:/x" is about a whole root directory`:            {Copies: []string{"/:/x"}},
		`customize.script: "setup.sh" is not the path`:                      {Scripts: []string{"setup.sh"}},
		`customize.hook: "later:boot:true" is not a hook`:                   {Hooks: []string{"later:boot:true"}},
		`customize.hook: "before:bootstrap:true" comes before there is`:     {Hooks: []string{"before:bootstrap:true"}},
		`customize.hook: "after:boot:true" comes when the machine runs`:     {Hooks: []string{"after:boot:true"}},
		`customize.hook: "after:enable:true" is at no stage`:                {Hooks: []string{"after:enable:true"}},
		`customize.hook: "after:network: " has no command`:                  {Hooks: []string{"after:network: "}},
		`customize.network: lets scripts and hooks use the network, and`:    {ScriptNetwork: true},
		`snapshot: "yesterday" is neither a date nor a time`:                {Snapshot: "yesterday"},
		`snapshot: "1999-01-01" is from before anybody kept packages`:       {Snapshot: "1999-01-01"},
		`customize.copy: "/a:/proc" has a target where the machine's own s`: {Copies: []string{"/a:/proc"}},
	} {
		in.Name, in.Distro, in.Directory = "box", "debian", "/srv"
		_, err := spec.Build(in)
		var bad spec.Invalid
		if !errors.As(err, &bad) || len(bad) != 1 || !strings.HasPrefix(bad[0].Error(), want) || bad[0].Hint == "" {
			t.Errorf("%v, where %s was wanted", err, want)
		}
	}
}

func TestAnImageIsReadFromAFile(t *testing.T) {
	w := read(t, "version: 1\nname: x\ndistro: debian\ndirectory: /srv\ncustomize:\n  copy: ['./app:/opt/app']\n  script: [setup.sh]\n"+
		"image:\n  format: [tar.zst, raw]\n  check: [test -e /opt/app]\n  source-date-epoch: 1700000000\n  lock: x.lock.json\n").Machines[0]
	img, err := spec.BuildImage(w.Image)
	if err != nil {
		t.Fatal(err)
	}
	want := spec.Image{
		Formats: []string{"tar.zst", "raw"}, Verify: true, Checks: []string{"test -e /opt/app"}, SourceDateEpoch: 1700000000,
		Lock: source.Directory + "/x.lock.json",
	}
	if diff := cmp.Diff(want, img); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w.Input.Copies[0] != source.Directory+"/app:/opt/app" || w.Input.Scripts[0] != source.Directory+"/setup.sh" {
		t.Errorf("paths do not begin where the file is: %q %q", w.Input.Copies, w.Input.Scripts)
	}
}

func TestAnImageThatCannotBeMadeIsRefusedWithAHint(t *testing.T) {
	_, err := spec.BuildImage(spec.ImageInput{Formats: []string{"zip", "tar", "tar"}, Checks: []string{" "}, SourceDateEpoch: "12", Lock: "x"})
	var bad spec.Invalid
	if !errors.As(err, &bad) || len(bad) != 5 {
		t.Fatalf("%v", err)
	}
	for _, e := range bad {
		if e.Hint == "" {
			t.Errorf("%v has no hint", e)
		}
	}
}
