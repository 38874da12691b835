package plugins

import (
	"strings"
	"testing"
)

func TestWhatIsPushedSaysWhatItIs(t *testing.T) {
	s := &Store{}
	repository := registryOf(t, nil)
	script := file(t, "made", []byte("#!/bin/sh\n"))
	for what, c := range map[string]struct {
		programs []Program
		to       string
		words    string
	}{
		"a script for no architecture":  {[]Program{{Path: script}}, ":1", "does not say which architecture"},
		"a program for another":         {[]Program{{Arch: "amd64", Path: file(t, "made", elfFor(183))}}, ":1", "is for linux/arm64, not for linux/amd64"},
		"two for one":                   {[]Program{{Arch: "amd64", Path: script}, {Arch: "amd64", Path: script}}, ":1", "there are two programs"},
		"a file of another name":        {[]Program{{Arch: "amd64", Path: "/bin/sh"}}, ":1", "is not the name of a plugin's file"},
		"a file that is not there":      {[]Program{{Path: "/nonexistent/nspawn-build-plugin-x"}}, ":1", "no such file"},
		"nothing":                       {nil, ":1", "nothing to push"},
		"no tag":                        {[]Program{{Arch: "amd64", Path: script}}, "", "is not the name"},
		"a digest in place of a tag":    {[]Program{{Arch: "amd64", Path: script}}, "@sha256:" + strings.Repeat("0", 64), "is not a tag"},
		"a registry that is not there":  {[]Program{{Arch: "amd64", Path: script}}, "!", "pushing oci://127.0.0.1:1/x:1"},
		"a script for several, as said": {[]Program{{Arch: "amd64", Path: script}, {Arch: "arm64", Path: script}}, ":1", ""},
	} {
		t.Run(what, func(t *testing.T) {
			to := repository + c.to
			if c.to == "!" {
				to = scheme + "127.0.0.1:1/x:1"
			}
			ref, err := s.Push(t.Context(), c.programs, to)
			if c.words == "" {
				must(t, err)
				if !strings.HasPrefix(ref, repository+"@sha256:") {
					t.Error(ref)
				}
				return
			}
			expect(t, err, 0, c.words)
		})
	}
	for text, fine := range map[string]bool{
		"linux/arm64=x": true, "linux/amd64=": false, "linux=x": false, "windows/amd64=x": false, "linux/vax=x": false, "x": false,
	} {
		if _, err := ParseProgram(text); (err == nil) != fine {
			t.Errorf("%q: %v", text, err)
		}
	}
}
