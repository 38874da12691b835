//go:build integration

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// checkUbuntu makes machines of an Ubuntu-like archive: packages of Debian that
// say that they are Ubuntu, signed by a key of the test. The release is one that
// debootstrap has no script of, as those that are newer than the host. What it
// cannot prove is what only Ubuntu's own packages and keys can.
func checkUbuntu(t *testing.T, cache string) {
	const suite = "zebra"
	mirror, key := ubuntuMirror(t, cache, suite)
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			req := request(t, "ubuntu", suite)
			req.Options[optionEngine] = engine
			req.Options[optionUnknown] = "allow"
			req.Options[optionUpdates], req.Options[optionSecurity] = "off", "none"
			req.Mirrors, req.Keyring = []string{"file://" + mirror}, key
			facts, recorder, err := bootstrap(t, req)
			if err != nil {
				t.Fatalf("%+v\n%s", err, strings.Join(recorder.Lines(), "\n"))
			}
			if facts.OSRelease["ID"] != "ubuntu" || len(facts.Packages) < 100 || !slices.Equal(facts.SSHUnits, []string{"ssh.service"}) {
				t.Errorf("it is %q with %d packages and %q", facts.OSRelease["ID"], len(facts.Packages), facts.SSHUnits)
			}
			text, err := os.ReadFile(filepath.Join(req.Target, "etc/apt/sources.list.d/ubuntu.sources"))
			for _, line := range []string{
				"URIs: file://" + mirror, "Suites: " + suite, "Components: main universe",
				"Signed-By: /etc/apt/keyrings/nspawn-build-ubuntu.gpg",
			} {
				if err != nil || !strings.Contains(string(text), line+"\n") {
					t.Errorf("the machine's sources lack %q: %q, %v", line, text, err)
				}
			}
		})
	}
	t.Run("not signed by Ubuntu", func(t *testing.T) {
		t.Parallel()
		req := request(t, "ubuntu", suite)
		req.Options[optionUnknown] = "allow"
		req.Mirrors, req.Keyring = []string{"file://" + mirror}, "/usr/share/keyrings/debian-archive-keyring.gpg"
		expectFailure(t, req, sdk.CodeVerification, "not in the keyring")
	})
}

// ubuntuMirror makes an archive of the packages in a cache and a key that has
// signed it.
func ubuntuMirror(t *testing.T, cache, suite string) (mirror, key string) {
	t.Helper()
	sdktest.NeedTools(t, "dpkg-deb", "gpg")
	base := filepath.Join(sdktest.Scratch(), "ubuntu")
	mirror, key = filepath.Join(base, "mirror"), filepath.Join(base, "ubuntu.gpg")
	makeEmpty(t, filepath.Join(mirror, "pool"), filepath.Join(base, "gpg"))
	// apt's own user reads it.
	for directory := mirror; directory != filepath.Dir(sdktest.Scratch()); directory = filepath.Dir(directory) {
		if err := os.Chmod(directory, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	blobs, err := filepath.Glob(filepath.Join(cache, "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var index bytes.Buffer
	for _, blob := range blobs {
		name, err := exec.Command("dpkg-deb", "-f", blob, "Package").Output()
		if err != nil {
			continue // not a package
		}
		file := filepath.Join(mirror, "pool", strings.TrimSpace(string(name))+".deb")
		if strings.TrimSpace(string(name)) == "base-files" {
			rebadge(t, blob, file, suite)
		} else {
			execute(t, base, "cp", blob, file)
		}
		addToIndex(t, &index, mirror, file)
	}
	if count := bytes.Count(index.Bytes(), []byte("\nFilename: ")); count < 100 {
		t.Fatalf("only %d packages are in the cache", count)
	}
	publish(t, base, mirror, suite, index.Bytes())
	execute(t, base, "sh", "-c", "gpg --export > ubuntu.gpg")
	return mirror, key
}

// rebadge makes base-files that of Ubuntu.
func rebadge(t *testing.T, deb, to, suite string) {
	t.Helper()
	tree := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(to))), "base-files")
	execute(t, "/", "dpkg-deb", "--raw-extract", deb, tree)
	text := "NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"30.04\"\nVERSION_CODENAME=" + suite + "\n"
	if err := os.WriteFile(filepath.Join(tree, "usr/lib/os-release"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	execute(t, "/", "dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, to)
}

// addToIndex adds the paragraph of a package, as Debian's repository format has
// it.
func addToIndex(t *testing.T, index *bytes.Buffer, mirror, file string) {
	t.Helper()
	control, err := exec.Command("dpkg-deb", "-f", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name, err := filepath.Rel(mirror, file)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(index, "%s\nFilename: %s\nSize: %d\nSHA256: %x\n\n", bytes.TrimSpace(control), name, len(content), sha256.Sum256(content))
}

// publish writes the indexes and the signed release.
func publish(t *testing.T, base, mirror, suite string, main []byte) {
	t.Helper()
	dists := filepath.Join(mirror, "dists", suite)
	var sums strings.Builder
	for component, index := range map[string][]byte{"main": main, "universe": {}} {
		name := component + "/binary-amd64/Packages"
		if err := os.MkdirAll(filepath.Join(dists, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dists, name), index, 0o644); err != nil {
			t.Fatal(err)
		}
		// debootstrap takes compressed indexes alone.
		execute(t, dists, "sh", "-c", "gzip -nk9 "+name)
		packed, err := os.ReadFile(filepath.Join(dists, name+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sums, " %x %d %s\n %x %d %s.gz\n", sha256.Sum256(index), len(index), name, sha256.Sum256(packed), len(packed), name)
	}
	release := "Origin: Ubuntu\nLabel: Ubuntu\nSuite: " + suite + "\nCodename: " + suite +
		"\nDate: " + time.Now().UTC().Format(time.RFC1123) + "\nArchitectures: amd64\nComponents: main universe\nSHA256:\n" + sums.String()
	if err := os.WriteFile(filepath.Join(dists, "Release"), []byte(release), 0o644); err != nil {
		t.Fatal(err)
	}
	execute(t, base, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "nspawn-build test <test@example.org>", "rsa3072", "sign", "never")
	execute(t, base, "gpg", "--batch", "--quiet", "--clearsign", "--output", filepath.Join(dists, "InRelease"), filepath.Join(dists, "Release"))
	execute(t, base, "gpgconf", "--kill", "all")
}

// execute runs a tool with the GnuPG home of the test.
func execute(t *testing.T, dir string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GNUPGHOME="+filepath.Join(dir, "gpg"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}
