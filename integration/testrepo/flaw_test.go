//go:build integration

package testrepo

import (
	"regexp"
	"testing"
)

func TestPacmanRefusesWhatIsFlawed(t *testing.T) {
	r := Arch(t)
	if _, said, err := installArch(t, r, r.Mirror(), "Required", "filesystem"); err != nil {
		t.Fatalf("the good repository: %v\n%s", err, said)
	}
	for flaw, why := range map[Flaw]string{
		WrongKey:         `error: core: key "[0-9A-F]{40}" is unknown`,
		ExpiredKey:       `error: core: signature from "Arch-like .* is (unknown trust|expired)`,
		TamperedPackage:  `error: filesystem: signature from "Arch-like .* is invalid`,
		TamperedDatabase: `error: core: signature from "Arch-like .* is invalid`,
		MissingSignature: `error: failed retrieving file 'filesystem-\S+\.sig'`,
		StaleDatabase:    `error: failed retrieving file 'filesystem-\S+\.zst'`,
	} {
		t.Run(flaw.String(), func(t *testing.T) {
			f := r.Flawed(t, flaw)
			_, said, err := installArch(t, f, f.Mirror(), "Required", "filesystem")
			if err == nil || !regexp.MustCompile(why).MatchString(said) {
				t.Errorf("want %q, got %v\n%s", why, err, said)
			}
		})
	}
	t.Run("nothing but its signature is wrong with the tampered package", func(t *testing.T) {
		f := r.Flawed(t, TamperedPackage)
		if _, said, err := installArch(t, f, f.Mirror(), "Never", "filesystem"); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
}

func TestDnfRefusesWhatIsFlawed(t *testing.T) {
	r := Fedora(t)
	if _, said, err := installFedora(t, r, r.Mirror(), FedoraRelease, "1", "basesystem"); err != nil {
		t.Fatalf("the good repository: %v\n%s", err, said)
	}
	const metadata = `repomd.xml GPG signature verification error`
	for _, c := range []struct {
		flaw      Flaw
		repoCheck string // Fedora's own setting is 0
		why       string
	}{
		{WrongKey, "1", metadata},
		{WrongKey, "0", `Public key for basesystem-\S+ is not installed`},
		{ExpiredKey, "1", metadata}, // with 0, rpm 4.18 takes it: it does not look at the date
		{TamperedPackage, "0", `(?s)Problem opening package basesystem-.*GPG check FAILED`},
		{TamperedDatabase, "0", `checksum doesn't match`},
		{MissingSignature, "0", `Package basesystem-\S+ is not signed`},
		{StaleDatabase, "0", `Error opening \S+/basesystem-`},
	} {
		t.Run(c.flaw.String()+" with repo_gpgcheck="+c.repoCheck, func(t *testing.T) {
			f := r.Flawed(t, c.flaw)
			_, said, err := installFedora(t, f, f.Mirror(), FedoraRelease, c.repoCheck, "basesystem")
			if err == nil || !regexp.MustCompile(c.why).MatchString(said) {
				t.Errorf("want %q, got %v\n%s", c.why, err, said)
			}
		})
	}
	t.Run("a release that the mirror does not have", func(t *testing.T) {
		if _, said, err := installFedora(t, r, r.Mirror(), FedoraPreviousRelease, "0", "basesystem"); err == nil {
			t.Errorf("it was installed: %s", said)
		}
	})
	t.Run("a mislabeled release shows in the tree alone", func(t *testing.T) {
		f := r.Flawed(t, MislabeledRelease)
		tree, said, err := installFedora(t, f, f.Mirror(), FedoraPreviousRelease, "1", "basesystem")
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		namesItself(t, tree, "fedora", FedoraRelease)
	})
}
