package testrepo

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// rpmSpec is the spec file of all packages, of the trees at staged. Their release
// is 1 and the tag.
func rpmSpec(staged, tag string, packs []*pack) (string, error) {
	shared, err := directories(filepath.Join(staged, last))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("Name: nspawn-build-test\nVersion: 1\nRelease: 1\nSummary: x\nLicense: custom\nAutoReqProv: no\n%description\nx\n\n")
	for _, p := range packs {
		b.WriteString(p.preamble(tag))
		files, err := p.fileList(filepath.Join(staged, p.Package), shared)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%%files -n %s\n%s\n", p.Package, files)
	}
	return b.String(), nil
}

// preamble is what a spec file says of a package before its files.
func (p *pack) preamble(tag string) string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s: %s\n", key, value) }
	fmt.Fprintf(&b, "%%package -n %s\n", p.Package)
	line("Summary", p.summary)
	line("Version", p.version.upstream)
	line("Release", "1"+tag)
	if p.version.epoch != "" {
		line("Epoch", p.version.epoch)
	}
	line("License", "custom")
	line("URL", p.url)
	line("AutoReqProv", "no")
	if p.any {
		line("BuildArch", "noarch")
	}
	for _, d := range p.depends {
		line("Requires", strings.TrimSpace(d.name+" "+d.op+" "+d.version.String()))
	}
	for _, name := range p.Provides {
		line("Provides", name)
	}
	if slices.ContainsFunc(p.scripts, func(s script) bool { return strings.HasPrefix(s.section, "%p") }) {
		line("Requires(post)", "/bin/sh")
		if p.Package != "systemd" {
			line("Requires(post)", "systemd")
		}
	}
	fmt.Fprintf(&b, "%%description -n %s\n%s\n\n", p.Package, p.summary)
	for _, s := range p.scripts {
		fmt.Fprintf(&b, "%s\n%s\n", s.section, s.body)
	}
	return b.String()
}

// fileList is what follows %files. Directories that filesystem has are its own.
func (p *pack) fileList(root string, shared map[string]bool) (string, error) {
	var b strings.Builder
	if _, err := os.Lstat(root); err != nil {
		return "", err
	}
	err := walk(root, func(_, rel string, e fs.DirEntry) error {
		switch {
		case e.IsDir() && shared[rel] && p.Package != last:
			return nil
		case e.IsDir():
			b.WriteString("%dir ")
		case slices.Contains(p.Config, rel):
			b.WriteString("%config(noreplace) ")
		}
		fmt.Fprintf(&b, "\"/%s\"\n", strings.ReplaceAll(rel, "%", "%%"))
		return nil
	})
	return b.String(), err
}

// directories are those below root.
func directories(root string) (map[string]bool, error) {
	all := map[string]bool{}
	err := walk(root, func(_, rel string, e fs.DirEntry) error {
		all[rel] = e.IsDir()
		return nil
	})
	return all, err
}
