package testrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// suite is the Debian release that everything is made of: the first whose
// packages bring sysusers.d files in place of scripts that call adduser.
const suite = "trixie"

// archiveKeyring verifies Debian on every Debian.
const archiveKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// debs returns a directory with everything on debs.list. It is fetched once,
// and stays as it is until the list or the mirror changes.
func debs(ctx context.Context) (string, error) {
	mirror, err := debianMirror()
	if err != nil {
		return "", err
	}
	list := readList("debs.list")
	return cached(ctx, "debs-"+suite, append([]string{mirror}, list...), func(dir string) error {
		settings, err := aptSettings(ctx)
		if err != nil {
			return err
		}
		return fetch(ctx, dir, mirror, settings, list)
	})
}

// debianMirror is where this machine has its own release from, which is the
// only place that the name of a mirror comes from. apt takes a second to tell.
var debianMirror = sync.OnceValues(func() (string, error) {
	release, err := codename("/etc/os-release")
	if err != nil {
		return "", err
	}
	// Without --no-release-info only targets are shown that were fetched before.
	out, err := tool{}.run(context.Background(), "apt-get", "indextargets", "--no-release-info",
		"--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return "", fmt.Errorf("ask apt for its sources: %w", err)
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == release && f[1] == "main" {
			return f[2], nil
		}
	}
	return "", fmt.Errorf("apt's sources name no mirror of %s main", release)
})

// codename is VERSION_CODENAME of an os-release file.
func codename(osRelease string) (string, error) {
	text, err := os.ReadFile(osRelease)
	if err != nil {
		return "", fmt.Errorf("read os-release: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(strings.TrimSpace(v), `"`), nil
		}
	}
	return "", errors.New(osRelease + " has no VERSION_CODENAME")
}

// aptSettings are those of apt's settings that belong to the way to the
// mirror, in the form of apt.conf: proxies, and that a snapshot's dates are past.
func aptSettings(ctx context.Context) (string, error) {
	args := []string{
		"dump", "--no-empty", "--format", `%F "%v";%n`,
		"Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Retries", "Acquire::http", "Acquire::https",
	}
	var all strings.Builder
	for _, name := range args[4:] { // it takes one at a time
		out, err := tool{}.run(ctx, "apt-config", append(args[:4:4], name)...)
		if err != nil {
			return "", fmt.Errorf("read apt's settings: %w", err)
		}
		all.WriteString(out)
	}
	return all.String(), nil
}

// fetch downloads the list and what it depends on into dir. apt resolves it
// against an empty system, in a state directory of its own: lists, sources and
// hooks of this machine are neither read nor changed.
func fetch(ctx context.Context, dir, mirror, settings string, list []string) error {
	state := filepath.Join(dir, "apt")
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, d), 0o755); err != nil {
			return fmt.Errorf("make a state directory for apt: %w", err)
		}
	}
	var options string
	if _, err := os.Stat(archiveKeyring); err == nil {
		options = "[signed-by=" + archiveKeyring + "] "
	}
	config := filepath.Join(state, "apt.conf")
	err := errors.Join(
		os.WriteFile(filepath.Join(state, "status"), nil, 0o644),
		os.WriteFile(filepath.Join(state, "sources.list"), []byte("deb "+options+mirror+" "+suite+" main\n"), 0o644),
		os.WriteFile(config, []byte(aptConfig(state)+settings), 0o600), // a proxy's URL can hold a password
	)
	if err != nil {
		return fmt.Errorf("configure apt: %w", err)
	}
	archives := filepath.Join(state, "cache/archives")
	apt := tool{dir: archives, env: []string{"APT_CONFIG=" + config}}
	wanted, alone := splitList(list)
	if _, err := apt.run(ctx, "apt-get", "-qq", "update", "-o", "APT::Update::Error-Mode=any"); err != nil {
		return err
	}
	if _, err := apt.run(ctx, "apt-get", append([]string{"-qq", "-y", "--download-only", "install"}, wanted...)...); err != nil {
		return err
	}
	if _, err := apt.run(ctx, "apt-get", append([]string{"-qq", "download"}, alone...)...); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("apt fetched nothing")
	}
	for _, deb := range found {
		if err := os.Rename(deb, filepath.Join(dir, filepath.Base(deb))); err != nil {
			return fmt.Errorf("keep a package: %w", err)
		}
	}
	return os.RemoveAll(state)
}

// aptConfig makes apt work below state, for the architecture that the tables
// are written for.
func aptConfig(state string) string {
	return `Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "` + state + `/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "` + state + `";
Dir::State::lists "` + state + `/lists";
Dir::State::status "` + state + `/status";
Dir::Cache "` + state + `/cache";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
`
}

// splitList tells the packages wanted with their dependencies from those
// wanted alone.
func splitList(list []string) (wanted, alone []string) {
	for _, line := range list {
		if names, ok := strings.CutPrefix(line, "Alone: "); ok {
			alone = append(alone, strings.Fields(names)...)
			continue
		}
		wanted = append(wanted, line)
	}
	return wanted, alone
}
