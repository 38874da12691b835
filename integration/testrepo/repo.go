package testrepo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// Repo is a signed repository on this machine, or a real mirror in place of it.
type Repo struct {
	// Dir is what a mirror would serve. It is shared by all tests: read only.
	// Empty for a real mirror.
	Dir string
	// Keyring is the path of the armored public key. Empty for a real mirror,
	// whose keys are those that the distribution is known by.
	Keyring string
	// Fingerprint is that of the key, in 40 upper case hexadecimal digits.
	// Empty for a real mirror.
	Fingerprint string

	distribution string
	entry        string // the directory in the cache that Dir and the keys are in
	mirror       string // of a real one
}

// What there is to install. Both repositories have more: what a host that runs
// nspawn-build needs, and what that depends on.
var (
	ArchPackages   = []string{"base", "openssh"}
	FedoraPackages = []string{
		"basesystem", "fedora-release", "systemd", "systemd-networkd", "systemd-resolved", "openssh-server",
		"util-linux", "iproute", "hostname", "glibc-minimal-langpack", "passwd", "dnf5",
	}
)

// ExtraPackage is in neither set. Arch has it in extra, not in core.
const ExtraPackage = "nano"

// buildDeadline bounds the making of a repository, fetching included.
const buildDeadline = 10 * time.Minute

// distributions are those that there are repositories of.
var distributions = map[string]struct {
	layout  string // of the mirror, as the distribution's package manager writes it
	real    string // the environment variable that names a real mirror
	release string // that @RELEASE@ stands for in the tables
	tools   []string
	build   func(ctx context.Context, dir, work string, t *tables, packs []*pack) error
}{
	"arch": {
		layout: "$repo/os/$arch", real: "NSPAWN_BUILD_TEST_ARCH_MIRROR",
		tools: []string{"bsdtar", "repo-add"}, build: buildArch,
	},
	"fedora": {
		layout: "$releasever/$basearch", real: "NSPAWN_BUILD_TEST_FEDORA_MIRROR", release: FedoraRelease,
		tools: rpmTools, build: fedoraLike.build,
	},
	"opensuse": {
		layout: "tumbleweed/repo/oss", real: "NSPAWN_BUILD_TEST_OPENSUSE_MIRROR", release: OpenSUSERelease,
		tools: rpmTools, build: openSUSELike.build,
	},
}

// Arch returns the repositories core and extra of an Arch-like distribution.
func Arch(t testing.TB) *Repo {
	t.Helper()
	return get(t, "arch")
}

// Fedora returns the repository of a Fedora-like distribution, of the release
// FedoraRelease.
func Fedora(t testing.TB) *Repo {
	t.Helper()
	return get(t, "fedora")
}

// OpenSUSE returns the repository of a distribution like openSUSE Tumbleweed, as
// it was on the day OpenSUSERelease.
func OpenSUSE(t testing.TB) *Repo {
	t.Helper()
	return get(t, "opensuse")
}

func get(t testing.TB, distribution string) *Repo {
	t.Helper()
	d := distributions[distribution]
	if mirror := os.Getenv(d.real); mirror != "" {
		return &Repo{distribution: distribution, mirror: mirror}
	}
	testhost.Require(t, append([]string{"apt-get", "apt-config", "dpkg-deb", "gpg", "gpg-agent", "gpgconf"}, d.tools...)...)
	if runtime.GOARCH != "amd64" {
		testhost.Unmet(t, "the tables of testrepo are written for x86-64")
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildDeadline)
	defer cancel()
	r, err := build(ctx, distribution)
	if err != nil {
		t.Fatalf("make the %s repository: %v", distribution, err)
	}
	return r
}

// build returns the repository out of the cache, where it makes it if need be.
func build(ctx context.Context, distribution string) (*Repo, error) {
	t, err := readTables(distribution)
	if err != nil {
		return nil, err
	}
	source, err := debs(ctx)
	if err != nil {
		return nil, err
	}
	names, err := debNames(source)
	if err != nil {
		return nil, err
	}
	parts := append([]string{t.content(distribution)}, names...)
	entry, err := cached(ctx, distribution+"-repo", parts, func(dir string) error {
		available, err := readDebs(ctx, source)
		if err != nil {
			return err
		}
		packs, err := plan(t, available)
		if err != nil {
			return err
		}
		return inWork(dir, func(work string) error {
			return distributions[distribution].build(ctx, dir, work, t, packs)
		})
	})
	if err != nil {
		return nil, err
	}
	return open(distribution, entry)
}

// inWork runs f with a directory below dir that is gone afterwards.
func inWork(dir string, f func(work string) error) error {
	work := filepath.Join(dir, "w") // sockets are in it: see newSigner
	if err := os.Mkdir(work, 0o755); err != nil {
		return fmt.Errorf("make a directory to work in: %w", err)
	}
	if err := f(work); err != nil {
		return err
	}
	return os.RemoveAll(work)
}

// open returns the repository that is in a directory of the cache.
func open(distribution, entry string) (*Repo, error) {
	r := &Repo{
		Dir: filepath.Join(entry, mirrorTree), Keyring: filepath.Join(entry, publicKey),
		distribution: distribution, entry: entry,
	}
	text, err := os.ReadFile(filepath.Join(entry, fingerprintFile))
	if err != nil {
		return nil, fmt.Errorf("read the key's fingerprint: %w", err)
	}
	r.Fingerprint = strings.TrimSpace(string(text))
	return r, nil
}

// Mirror is what --mirror takes for the repository on this machine's disk.
func (r *Repo) Mirror() string {
	if r.mirror != "" {
		return r.mirror
	}
	return "file://" + r.Dir + "/" + distributions[r.distribution].layout
}
