package testrepo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// What installing by hand takes, without nspawn-build.
var (
	archTools   = []string{"pacman", "pacman-key", "pacstrap", "gpg", "unshare"}
	fedoraTools = []string{"dnf", "rpm", "unshare", "mount"}
)

// installDeadline bounds an installation.
const installDeadline = 5 * time.Minute

// apart runs a script in namespaces of its own, of which nothing is left when
// it ends. It has no network unless that is asked for: a package manager that
// misses a key asks the world for it.
func apart(ctx context.Context, network bool, script string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, installDeadline)
	defer cancel()
	options := []string{"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if !network {
		options = append(options, "--net")
	}
	cmd := exec.CommandContext(ctx, "unshare", append(append(options, "sh", "-euc", script, "sh"), args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := onOwnThread(cmd.Run)
	return out.String(), err
}

// makeIn makes directories below dir.
func makeIn(dir string, names ...string) error {
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return fmt.Errorf("make a directory to install in: %w", err)
		}
	}
	return nil
}

// pacstrap installs packages into tree, which is made, and returns what was
// said. dir is for files of its own; sockets of gpg-agent have to fit in it.
// level is pacman's SigLevel.
func (r *Repo) pacstrap(ctx context.Context, dir, tree, mirror, level string, packages ...string) (string, error) {
	if err := makeIn(dir, "cache"); err != nil {
		return "", err
	}
	if err := makeIn(tree, "."); err != nil {
		return "", err
	}
	text := "[options]\nArchitecture = x86_64\nGPGDir = " + dir + "/gpg\nCacheDir = " + dir + "/cache\nSigLevel = " + level + "\n" +
		"[core]\nServer = " + mirror + "\n[extra]\nServer = " + mirror + "\n"
	if err := os.WriteFile(filepath.Join(dir, "pacman.conf"), []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("configure pacman: %w", err)
	}
	// What pacman-key --lsign-key makes in seconds: a key that is trusted.
	const script = `dir=$1 tree=$2 key=$3 fingerprint=$4; shift 4
		mkdir -m 700 $dir/gpg
		gpg --homedir $dir/gpg --batch --quiet --import $key
		echo $fingerprint:6: | gpg --homedir $dir/gpg --batch --quiet --import-ownertrust
		pacstrap -K -M -c -C $dir/pacman.conf $tree "$@"
		pacman --root $tree --config $dir/pacman.conf -Q`
	return apart(ctx, strings.HasPrefix(mirror, "http"), script, append([]string{dir, tree, r.Keyring, r.Fingerprint}, packages...)...)
}

// dnf installs packages into tree, which is made, with the database of packages
// where Fedora has it, and returns what was said. repoCheck is dnf's
// repo_gpgcheck.
func (r *Repo) dnf(ctx context.Context, dir, tree, mirror, release, repoCheck string, packages ...string) (string, error) {
	if err := makeIn(dir, "repos", "cache", "home"); err != nil {
		return "", err
	}
	if err := makeIn(tree, "proc", "sys", "dev", "run", "tmp"); err != nil {
		return "", err
	}
	repo := "[fedora]\nname=fedora\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=" + repoCheck +
		"\nbaseurl=" + mirror + "\ngpgkey=file://" + r.Keyring + "\n"
	for name, content := range map[string]string{
		"repos/fedora.repo": repo, "home/.rpmmacros": "%_dbpath /usr/lib/sysimage/rpm\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return "", fmt.Errorf("configure dnf: %w", err)
		}
	}
	const script = `dir=$1 tree=$2 release=$3; shift 3; export HOME=$dir/home
		mount -t proc proc $tree/proc; mount -t sysfs -o ro sys $tree/sys 2>/dev/null || :
		mount -t tmpfs -o mode=755 tmpfs $tree/dev; mount -t tmpfs tmpfs $tree/run; mount -t tmpfs tmpfs $tree/tmp
		for d in null zero full random urandom tty; do touch $tree/dev/$d; mount --bind /dev/$d $tree/dev/$d; done
		dnf -y --installroot=$tree --releasever=$release --setopt=reposdir=$dir/repos --setopt=cachedir=$dir/cache \
			--setopt=*.skip_if_unavailable=0 --setopt=install_weak_deps=0 install "$@"
		rpm --root $tree --query "$@"`
	return apart(ctx, strings.HasPrefix(mirror, "http"), script, append([]string{dir, tree, release}, packages...)...)
}
