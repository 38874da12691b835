package testrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
)

// fedoraKey is the name that Fedora gives the key of its release.
const fedoraKey = "RPM-GPG-KEY-fedora-" + FedoraRelease

// fedoraDirectory is that of the repository of a release on the mirror.
func fedoraDirectory(mirror, release string) string {
	return filepath.Join(mirror, release, "x86_64")
}

// rpmTools are the programs that make a repository of RPM packages.
var rpmTools = []string{"rpmbuild", "rpmsign", "createrepo_c"}

// rpmLike is what repositories of RPM packages differ in.
type rpmLike struct {
	distribution string
	owner        string // of its key
	tag          string // after the release of every package
	keyPackage   string // the package that its key is in
	keyFiles     func(key string) []entry
	directory    string // on the mirror
	offersKey    bool   // the repository has its key beside what it has signed with it
}

var fedoraLike = rpmLike{
	distribution: "fedora", owner: "Fedora-like test repository <fedora@example.org>", tag: ".fc" + FedoraRelease,
	keyPackage: "fedora-gpg-keys", directory: fedoraDirectory("", FedoraRelease),
	keyFiles: func(key string) []entry {
		return []entry{
			{path: "etc/pki/rpm-gpg/" + fedoraKey + "-primary", text: key, mode: 0o644},
			{path: "etc/pki/rpm-gpg/" + fedoraKey + "-x86_64", link: fedoraKey + "-primary"},
		}
	},
}

var openSUSELike = rpmLike{
	distribution: "opensuse", owner: "openSUSE-like test repository <opensuse@example.org>",
	keyPackage: "openSUSE-build-key", directory: "tumbleweed/repo/oss", offersKey: true,
	keyFiles: func(key string) []entry {
		return []entry{{path: "usr/lib/rpm/gnupg/keys/gpg-pubkey-test.asc", text: key, mode: 0o644}}
	},
}

// build builds the repository below dir. work is removed afterwards.
func (l rpmLike) build(ctx context.Context, dir, work string, t *tables, packs []*pack) error {
	if err := makeKey(ctx, dir, l.owner); err != nil {
		return err
	}
	s, err := openSigner(ctx, dir, work)
	if err != nil {
		return err
	}
	defer s.close()
	staged := filepath.Join(work, "stage")
	if err := stage(ctx, staged, l.distribution, t, packs); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(dir, publicKey))
	if err != nil {
		return fmt.Errorf("make the package of keys: %w", err)
	}
	for _, e := range l.keyFiles(string(key)) {
		if err := e.put(filepath.Join(staged, l.keyPackage)); err != nil {
			return err
		}
	}
	repository := filepath.Join(dir, mirrorTree, l.directory)
	if err := buildRPMs(ctx, work, staged, repository, l.tag, packs); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(repository, "*.rpm"))
	if err != nil {
		return err
	}
	if err := s.signRPMs(ctx, files); err != nil {
		return err
	}
	if err := s.rpmDatabase(ctx, repository); err != nil || !l.offersKey {
		return err
	}
	return os.WriteFile(filepath.Join(repository, "repodata/repomd.xml.key"), key, 0o644)
}

// buildRPMs builds all packages at once, from one spec file with a subpackage
// for each: one run of rpmbuild takes a tenth of the time of as many.
func buildRPMs(ctx context.Context, work, staged, repository, tag string, packs []*pack) error {
	spec, err := rpmSpec(staged, tag, packs)
	if err != nil {
		return err
	}
	specFile, union := filepath.Join(work, "all.spec"), filepath.Join(work, "root")
	if err := os.WriteFile(specFile, []byte(spec), 0o644); err != nil {
		return fmt.Errorf("write the spec file: %w", err)
	}
	for _, p := range packs {
		if err := linkTree(filepath.Join(staged, p.Package), union); err != nil {
			return err
		}
	}
	args := []string{"-bb", "--quiet", "--noclean", "--target", "x86_64", "--buildroot", union}
	for _, macro := range []string{
		"_topdir " + filepath.Join(work, "rpmbuild"), "_rpmdir " + repository,
		"_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", "_build_id_links none",
		"__os_install_post %{nil}", "debug_package %{nil}", "_binary_payload w3.zstdio",
		"_binaries_in_noarch_packages_terminate_build 0", "_unpackaged_files_terminate_build 1",
		"use_source_date_epoch_as_buildtime 1", "__spec_install_pre %{nil}", "__spec_clean_cmd :", "__check_files %{nil}",
	} {
		args = append(args, "--define", macro)
	}
	_, err = tool{dir: work, env: rpmHome(work)}.run(ctx, "rpmbuild", append(args, specFile)...)
	return err
}

// rpmHome keeps Debian's rpm from the database in the user's home.
func rpmHome(work string) []string { return []string{"HOME=" + work} }

// linkTree makes a second name for every file below from, at the same place
// below to, where other packages' directories may be already.
func linkTree(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("link a tree: %w", err)
	}
	return walk(from, func(path, rel string, e fs.DirEntry) error {
		target := filepath.Join(to, rel)
		if !e.IsDir() {
			return os.Link(path, target)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if err := os.Mkdir(target, 0o755); errors.Is(err, fs.ErrExist) {
			return nil
		} else if err != nil {
			return err
		}
		return os.Chmod(target, info.Mode())
	})
}

// signRPMs signs packages in place, in place of the signature that they have.
func (s *signer) signRPMs(ctx context.Context, files []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for some := range slices.Chunk(files, 20) {
		group.Go(func() error {
			args := append([]string{"--define", "__gpg /usr/bin/gpg", "--define", "_gpg_name " + s.fingerprint, "--resign"}, some...)
			_, err := tool{env: append(s.env(), rpmHome(filepath.Dir(s.home))...)}.run(ctx, "rpmsign", args...)
			return err
		})
	}
	return group.Wait()
}

// rpmDatabase makes the signed repodata of all packages in dir, and reads
// anew only those that changed since there was one.
func (s *signer) rpmDatabase(ctx context.Context, dir string) error {
	if _, err := (tool{}).run(ctx, "createrepo_c", "--quiet", "--update", "--no-database", "--workers=2", dir); err != nil {
		return err
	}
	return s.detach(ctx, filepath.Join(dir, "repodata/repomd.xml"), true)
}
