package unitfile

import (
	"path"
	"slices"
	"strings"
)

// BindsDropIn keeps a machine's service from starting while a link is on the
// way to what is bound into it, as
// /etc/systemd/system/systemd-nspawn@MACHINE.service.d/40-nspawn-build-binds.conf.
// systemd-nspawn would follow it, wherever it leads.
type BindsDropIn struct {
	Machine string
	Sources []string // absolute, on the host
}

// escapeSpecifiers keeps systemd from reading a "%" of a path as one.
var escapeSpecifiers = strings.NewReplacer("%", "%%")

// Render returns the file.
func (d BindsDropIn) Render() ([]byte, error) {
	var f file
	f.in("Unit")
	var all []string
	for _, s := range d.Sources {
		if !path.IsAbs(s) || path.Clean(s) != s {
			return nil, &ValueError{"AssertPathIsSymbolicLink", s, "is not an absolute path without . and .."}
		}
		for p := s; p != "/"; p = path.Dir(p) {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	for _, p := range slices.Compact(all) {
		f.set("AssertPathIsSymbolicLink", "!"+escapeSpecifiers.Replace(p))
	}
	return f.render(d.Machine)
}
