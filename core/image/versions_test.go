package image

import "testing"

func TestToolsSayTheirVersions(t *testing.T) {
	for name, c := range map[string]struct{ program, text, want string }{
		"xz":         {"xz", "xz (XZ Utils) 5.4.1\nliblzma 5.4.1\n", "5.4.1"},
		"sqfstar":    {"sqfstar", "sqfstar version 4.6.1 (2023/03/25)\ncopyright (C) 2023\n", "4.6.1"},
		"erofs":      {"mkfs.erofs", "mkfs.erofs (erofs-utils) 1.8.6\n", "1.8.6"},
		"old erofs":  {"mkfs.erofs", "<E> erofs: failed to parse\nmkfs.erofs 1.5\n", "1.5"},
		"resize2fs":  {"resize2fs", "resize2fs 1.47.0 (5-Feb-2023)\nUsage: resize2fs [-d debug_flags]\n", "1.47.0"},
		"a distro's": {"xz", "xz 5.8.1-2~deb13u1\n", "5.8.1-2~deb13u1"},
		"none":       {"resize2fs", "resize2fs: no such thing as 1.0\n", ""},
		"another's":  {"xz", "liblzma 5.4.1\n", ""},
	} {
		if got := versionIn(c.program, c.text); got != c.want {
			t.Errorf("%s: it is %q, want %q", name, got, c.want)
		}
	}
	for _, f := range Formats() {
		tools, err := Tools(t.Context(), f)
		if err != nil || (len(tools) > 0) != (len(Needs(f)) > 0) {
			t.Errorf("of %s there are %+v: %v", f, tools, err)
		}
		for _, tool := range tools {
			if _, err := lookUp(tool.Name); err == nil && tool.Version == "" {
				t.Errorf("%s is here and does not say its version", tool.Name)
			}
		}
	}
}
