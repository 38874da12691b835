//go:build integration

package testrepo

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// shortDir is a directory that sockets of gpg-agent fit in, gone with the test.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "tr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// apart runs a script in namespaces of its own, of which nothing is left when
// it ends. It has no network unless that is asked for: a package manager that
// misses a key asks the world for it.
func apart(t *testing.T, network bool, script string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	options := []string{"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if !network {
		options = append(options, "--net")
	}
	cmd := exec.CommandContext(ctx, "unshare", append(append(options, "sh", "-euc", script, "sh"), args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	err := cmd.Run()
	return out.String(), err
}

// installArch installs packages with pacstrap, which must verify them by the
// repository's keyring, and returns the tree and what pacstrap said.
func installArch(t *testing.T, r *Repo, mirror, level string, packages ...string) (tree, said string, err error) {
	t.Helper()
	testhost.Require(t, "pacman", "pacman-key", "pacstrap", "gpg", "unshare")
	dir := shortDir(t)
	tree = filepath.Join(dir, "tree")
	for _, d := range []string{"tree", "cache"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "pacman.conf")
	text := "[options]\nArchitecture = x86_64\nGPGDir = " + dir + "/gpg\nCacheDir = " + dir + "/cache\nSigLevel = " + level + "\n" +
		"[core]\nServer = " + mirror + "\n[extra]\nServer = " + mirror + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// What pacman-key --lsign-key makes in seconds: a key that is trusted.
	const script = `dir=$1 key=$2 fingerprint=$3; shift 3
		mkdir -m 700 $dir/gpg
		gpg --homedir $dir/gpg --batch --quiet --import $key
		echo $fingerprint:6: | gpg --homedir $dir/gpg --batch --quiet --import-ownertrust
		pacstrap -K -M -c -C $dir/pacman.conf $dir/tree "$@"
		pacman --root $dir/tree --config $dir/pacman.conf -Q`
	said, err = apart(t, strings.HasPrefix(mirror, "http"), script, append([]string{dir, r.Keyring, r.Fingerprint}, packages...)...)
	return tree, said, err
}

// installFedora installs packages with dnf, which must verify packages and,
// where repoCheck is 1, the repository's metadata, and returns the tree and
// what dnf said. The database of packages is where Fedora has it.
func installFedora(t *testing.T, r *Repo, mirror, release, repoCheck string, packages ...string) (tree, said string, err error) {
	t.Helper()
	testhost.Require(t, "dnf", "rpm", "unshare", "mount")
	dir := shortDir(t)
	tree = filepath.Join(dir, "tree")
	for _, d := range []string{"tree/proc", "tree/sys", "tree/dev", "tree/run", "tree/tmp", "repos", "cache", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	repo := "[fedora]\nname=fedora\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=" + repoCheck +
		"\nbaseurl=" + mirror + "\ngpgkey=file://" + r.Keyring + "\n"
	if err := os.WriteFile(filepath.Join(dir, "repos/fedora.repo"), []byte(repo), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "home/.rpmmacros"), []byte("%_dbpath /usr/lib/sysimage/rpm\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `dir=$1 release=$2 tree=$1/tree; shift 2; export HOME=$dir/home
		mount -t proc proc $tree/proc; mount -t sysfs -o ro sys $tree/sys 2>/dev/null || :
		mount -t tmpfs -o mode=755 tmpfs $tree/dev; mount -t tmpfs tmpfs $tree/run; mount -t tmpfs tmpfs $tree/tmp
		for d in null zero full random urandom tty; do touch $tree/dev/$d; mount --bind /dev/$d $tree/dev/$d; done
		dnf -y --installroot=$tree --releasever=$release --setopt=reposdir=$dir/repos --setopt=cachedir=$dir/cache \
			--setopt=*.skip_if_unavailable=0 --setopt=install_weak_deps=0 install "$@"
		rpm --root $tree --query "$@"`
	said, err = apart(t, strings.HasPrefix(mirror, "http"), script, append([]string{dir, release}, packages...)...)
	return tree, said, err
}
