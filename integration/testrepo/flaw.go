package testrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Flaw is something wrong with a repository. Everything but the flaw is in
// order: where a package was changed, the signed database names the checksum
// that it has now.
type Flaw int

// The flaws.
const (
	// WrongKey: packages and databases are signed by another key than Keyring's.
	WrongKey Flaw = iota + 1
	// ExpiredKey: Keyring's key has expired. All was signed before that.
	ExpiredKey
	// TamperedPackage: one package that every installation needs was changed
	// after it was signed.
	TamperedPackage
	// TamperedDatabase: the databases were changed after they were signed. For
	// Fedora it is the list of packages, whose checksum is in what is signed, so
	// that it shows with repo_gpgcheck=0 as well.
	TamperedDatabase
	// MissingSignature: one package that every installation needs has none.
	MissingSignature
	// StaleDatabase: a package that every installation needs is on the mirror
	// in another version than the database names.
	StaleDatabase
	// MislabeledRelease, of Fedora alone: what the mirror has for the release
	// FedoraPreviousRelease is FedoraRelease, whole and signed.
	MislabeledRelease
)

// FedoraPreviousRelease is a release that the repository does not have.
const FedoraPreviousRelease = "42"

func (f Flaw) String() string {
	names := map[Flaw]string{
		WrongKey: "wrong-key", ExpiredKey: "expired-key", TamperedPackage: "tampered-package",
		TamperedDatabase: "tampered-database", MissingSignature: "missing-signature",
		StaleDatabase: "stale-database", MislabeledRelease: "mislabeled-release",
	}
	return names[f]
}

// Flawed returns a copy of the repository with a flaw. It shares with the good
// one, as hard links, the files that are alike. A real mirror has no flaws to
// offer: then the test is skipped.
func (r *Repo) Flawed(t testing.TB, f Flaw) *Repo {
	t.Helper()
	if r.mirror != "" {
		t.Skipf("%s: a real mirror cannot be given a flaw", f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildDeadline)
	defer cancel()
	parts := []string{filepath.Base(r.entry)}
	entry, err := cached(ctx, r.distribution+"-"+f.String(), parts, func(dir string) error {
		for _, file := range []string{publicKey, secretKey, fingerprintFile} {
			if err := os.Link(filepath.Join(r.entry, file), filepath.Join(dir, file)); err != nil {
				return err
			}
		}
		if err := linkTree(r.Dir, filepath.Join(dir, mirrorTree)); err != nil {
			return err
		}
		return inWork(dir, func(work string) error { return spoil(ctx, r.distribution, dir, work, f) })
	})
	if err != nil {
		t.Fatalf("make a repository with the flaw %s: %v", f, err)
	}
	flawed, err := open(r.distribution, entry)
	if err != nil {
		t.Fatal(err)
	}
	return flawed
}

// spoil gives the copy in dir its flaw. Files in it are replaced, and never
// written to: they are those of the good repository.
func spoil(ctx context.Context, distribution, dir, work string, f Flaw) error {
	keys := dir
	if f == WrongKey {
		keys = filepath.Join(work, "other")
		if err := errors.Join(os.Mkdir(keys, 0o700), makeKey(ctx, keys, "Somebody else <else@example.org>")); err != nil {
			return err
		}
	}
	s, err := openSigner(ctx, keys, work)
	if err != nil {
		return err
	}
	defer s.close()
	if f == ExpiredKey {
		file := filepath.Join(dir, publicKey)
		return errors.Join(os.Remove(file), s.exportExpired(ctx, file))
	}
	mirror := filepath.Join(dir, mirrorTree)
	if distribution == "arch" {
		return s.spoilArch(ctx, mirror, f)
	}
	if distribution == "opensuse" {
		return s.spoilRPMs(ctx, filepath.Join(mirror, openSUSELike.directory), f)
	}
	if f == MislabeledRelease {
		return os.Symlink(FedoraRelease, filepath.Join(mirror, FedoraPreviousRelease))
	}
	return s.spoilRPMs(ctx, fedoraDirectory(mirror, FedoraRelease), f)
}

func (s *signer) spoilArch(ctx context.Context, mirror string, f Flaw) error {
	core := archDirectory(mirror, "core")
	if f == WrongKey {
		return s.resignArch(ctx, mirror)
	}
	victim, err := one(filepath.Join(core, "filesystem-[0-9]*.pkg.tar.zst"))
	if err != nil {
		return err
	}
	switch f {
	case TamperedPackage:
		// A frame that every decoder skips (RFC 8878, 3.1.2): the content stays
		// good, so that nothing but the signature can tell.
		if err := rewrite(victim, func(b []byte) []byte { return append(b, "\x50\x2a\x4d\x18\x04\x00\x00\x00evil"...) }); err != nil {
			return err
		}
		return s.replaceInArch(ctx, core, victim)
	case MissingSignature:
		if err := os.Remove(victim + ".sig"); err != nil {
			return err
		}
		return s.replaceInArch(ctx, core, victim)
	case TamperedDatabase:
		// An empty member (RFC 1952, 2.2), so that nothing but the signature can tell.
		empty := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")
		for _, name := range []string{"core", "extra"} {
			file := filepath.Join(archDirectory(mirror, name), name+".db.tar.gz")
			if err := rewrite(file, func(b []byte) []byte { return append(b, empty...) }); err != nil {
				return err
			}
		}
		return nil
	case StaleDatabase:
		return errors.Join(move(victim, ".pkg.tar.zst", ".1.pkg.tar.zst"), move(victim+".sig", ".pkg.tar.zst.sig", ".1.pkg.tar.zst.sig"))
	}
	return fmt.Errorf("there is no flaw %q of Arch", f)
}

// resignArch replaces every signature.
func (s *signer) resignArch(ctx context.Context, mirror string) error {
	for _, name := range []string{"core", "extra"} {
		dir := archDirectory(mirror, name)
		files, err := filepath.Glob(filepath.Join(dir, "*.pkg.tar.zst"))
		if err != nil {
			return err
		}
		if err := s.signAll(ctx, files); err != nil {
			return err
		}
		if err := removeAll(filepath.Join(dir, name+".*")); err != nil {
			return err
		}
		if err := s.archDatabase(ctx, dir, name); err != nil {
			return err
		}
	}
	return nil
}

// replaceInArch enters a package into the database anew.
func (s *signer) replaceInArch(ctx context.Context, dir, file string) error {
	return s.archDatabase(ctx, dir, "core", file)
}

// spoilRPMs gives a repository of RPM packages its flaw.
func (s *signer) spoilRPMs(ctx context.Context, dir string, f Flaw) error {
	victim, err := one(filepath.Join(dir, "basesystem-[0-9]*.rpm"))
	if err != nil {
		return err
	}
	var files []string
	switch f {
	case StaleDatabase:
		return move(victim, "-1.", "-2.")
	case TamperedDatabase:
		list, err := one(filepath.Join(dir, "repodata/*-primary.xml.*"))
		if err != nil {
			return err
		}
		return rewrite(list, func(b []byte) []byte { return append(b, b...) })
	case TamperedPackage:
		err = rewrite(victim, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	case MissingSignature:
		if err = rewrite(victim, bytes.Clone); err == nil {
			_, err = tool{}.run(ctx, "rpmsign", "--delsign", victim)
		}
	case WrongKey:
		if files, err = filepath.Glob(filepath.Join(dir, "*.rpm")); err != nil {
			return err
		}
		for _, file := range files {
			if err := rewrite(file, bytes.Clone); err != nil {
				return err
			}
		}
		err = s.signRPMs(ctx, files)
	default:
		return fmt.Errorf("there is no flaw %q of RPM packages", f)
	}
	if err != nil {
		return err
	}
	return s.rpmDatabase(ctx, dir)
}

// one is the path that matches, when it is the only one.
func one(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s: %d files in place of one", pattern, len(found))
	}
	return found[0], nil
}

// rewrite replaces a file by another with what change makes of its content.
func rewrite(file string, change func([]byte) []byte) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(file), os.WriteFile(file, change(text), 0o644))
}

// move renames a file whose name ends in, or contains last, old.
func move(file, old, replacement string) error {
	name := filepath.Base(file)
	i := bytes.LastIndex([]byte(name), []byte(old))
	if i < 0 {
		return fmt.Errorf("%s has no %q", file, old)
	}
	return os.Rename(file, filepath.Join(filepath.Dir(file), name[:i]+replacement+name[i+len(old):]))
}

func removeAll(pattern string) error {
	found, err := filepath.Glob(pattern)
	for _, file := range found {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}
