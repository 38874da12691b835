package testrepo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// archKeys is where pacman-key looks for the keys of a distribution.
const archKeys = "usr/share/pacman/keyrings/archlinux"

// archDirectory is that of a repository on a mirror of Arch.
func archDirectory(mirror, repository string) string {
	return filepath.Join(mirror, repository, "os", "x86_64")
}

// buildArch builds the repositories below dir. work is removed afterwards.
func buildArch(ctx context.Context, dir, work string, t *tables, packs []*pack) error {
	if err := makeKey(ctx, dir, "Arch-like test repository <arch@example.org>"); err != nil {
		return err
	}
	s, err := openSigner(ctx, dir, work)
	if err != nil {
		return err
	}
	defer s.close()
	staged := filepath.Join(work, "stage")
	if err := stage(ctx, staged, "arch", t, packs); err != nil {
		return err
	}
	if err := s.archKeyring(ctx, filepath.Join(staged, "archlinux-keyring", archKeys)); err != nil {
		return err
	}
	files, err := packArch(ctx, filepath.Join(dir, mirrorTree), staged, packs)
	if err != nil {
		return err
	}
	if err := s.signAll(ctx, files); err != nil {
		return err
	}
	for _, r := range t.repositories {
		if err := s.archDatabase(ctx, archDirectory(filepath.Join(dir, mirrorTree), r.name), r.name); err != nil {
			return err
		}
	}
	return nil
}

// archKeyring writes what archlinux-keyring has: pacman-key --populate
// archlinux, in a machine, then trusts this repository.
func (s *signer) archKeyring(ctx context.Context, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make the keyring package: %w", err)
	}
	if _, err := s.gpg(ctx, "--output", name+".gpg", "--export"); err != nil {
		return err
	}
	if err := os.WriteFile(name+"-trusted", []byte(s.fingerprint+":4:\n"), 0o644); err != nil {
		return fmt.Errorf("make the keyring package: %w", err)
	}
	return os.WriteFile(name+"-revoked", nil, 0o644)
}

// packArch packs every package as makepkg does, and returns the files.
func packArch(ctx context.Context, mirror, staged string, packs []*pack) ([]string, error) {
	files := make([]string, len(packs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, p := range packs {
		group.Go(func() error {
			dir := archDirectory(mirror, p.repository)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			root := filepath.Join(staged, p.Package)
			files[i] = filepath.Join(dir, fmt.Sprintf("%s-%s-%s.pkg.tar.zst", p.Package, p.archVersion(), p.archArch()))
			if err := p.writePkginfo(root); err != nil {
				return fmt.Errorf("pack %s: %w", p.Package, err)
			}
			return packOne(ctx, root, files[i])
		})
	}
	return files, group.Wait()
}

// packOne packs the tree at root: the package's own files first, then the rest.
func packOne(ctx context.Context, root, file string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	in := tool{dir: root}
	mtree := []string{
		"--no-fflags", "-czf", ".MTREE", "--format=mtree",
		"--options=!all,use-set,type,uid,gid,mode,time,size,sha256,link",
	}
	if _, err := in.run(ctx, "bsdtar", append(mtree, names...)...); err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == ".PKGINFO" })
	args := []string{"--no-fflags", "--zstd", "--options=zstd:compression-level=3", "-cf", file, ".PKGINFO", ".MTREE"}
	_, err = in.run(ctx, "bsdtar", append(args, names...)...)
	return err
}

func (p *pack) archVersion() string { return p.version.String() + "-1" }

func (p *pack) archArch() string {
	if p.any {
		return "any"
	}
	return "x86_64"
}

// writePkginfo writes .PKGINFO into the tree at root.
func (p *pack) writePkginfo(root string) error {
	n, err := size(root)
	if err != nil {
		return err
	}
	config := slices.DeleteFunc(slices.Clone(p.Config), func(file string) bool {
		_, err := os.Lstat(filepath.Join(root, file))
		return err != nil
	})
	return os.WriteFile(filepath.Join(root, ".PKGINFO"), []byte(p.pkginfo(n, config)), 0o644)
}

// pkginfo is the package's description, in the form of .PKGINFO.
func (p *pack) pkginfo(size int64, config []string) string {
	var b strings.Builder
	line := func(key string, value any) { fmt.Fprintf(&b, "%s = %v\n", key, value) }
	line("pkgname", p.Package)
	line("pkgbase", p.Package)
	line("xdata", "pkgtype=pkg")
	line("pkgver", p.archVersion())
	line("pkgdesc", p.summary)
	line("url", p.url)
	line("builddate", buildTime)
	line("packager", "nspawn-build test repository")
	line("size", size)
	line("arch", p.archArch())
	line("license", "custom")
	for _, file := range config {
		line("backup", file)
	}
	for _, name := range p.Provides {
		line("provides", name)
	}
	for _, d := range p.depends {
		line("depend", d.name+d.op+d.version.String())
	}
	return b.String()
}

// signAll signs files, each with a signature of its own beside it.
func (s *signer) signAll(ctx context.Context, files []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, f := range files {
		group.Go(func() error { return s.detach(ctx, f, false) })
	}
	return group.Wait()
}

// archDatabase makes the signed database of all packages in dir, or enters the
// given ones into the one that is there.
func (s *signer) archDatabase(ctx context.Context, dir, name string, files ...string) error {
	if len(files) == 0 {
		var err error
		if files, err = filepath.Glob(filepath.Join(dir, "*.pkg.tar.zst")); err != nil {
			return err
		}
	}
	args := append([]string{"-q", "--sign", "--key", s.fingerprint, filepath.Join(dir, name+".db.tar.gz")}, files...)
	_, err := tool{dir: dir, env: s.env()}.run(ctx, "repo-add", args...)
	return err
}
