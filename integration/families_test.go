//go:build integration

package integration

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// A distribution is one whose packages come from a repository of the tests' own.
type distribution struct {
	name    string // the value of --distro
	site    string // where a host finds the repository
	layout  string // of the mirror
	release string // that the repository has; empty for the default one
	open    func(testing.TB) *testrepo.Repo
	tools   []string // packages of Debian that make its machines
	install string   // installs one more package in a machine
}

var (
	arch = distribution{
		name: "arch", site: "arch.test", layout: "$repo/os/$arch", open: testrepo.Arch,
		tools:   []string{"arch-install-scripts", "pacman-package-manager", "makepkg", "gnupg", "archlinux-keyring"},
		install: "pacman -Sy --noconfirm " + testrepo.ExtraPackage,
	}
	fedora = distribution{
		name: "fedora", site: "fedora.test", layout: "$releasever/$basearch", open: testrepo.Fedora,
		tools: []string{"dnf", "rpm"}, release: testrepo.FedoraRelease,
		install: "dnf -y install " + testrepo.ExtraPackage,
	}
)

const keyOnHost = "/etc/nspawn-build-test/" // NAME.asc

// options are those of a host on which machines of the distributions can be
// made with the tools of a Debian.
func options(t *testing.T, o testhost.Options, ds ...distribution) testhost.Options {
	t.Helper()
	o.Sites = map[string]http.Handler{}
	for _, d := range ds {
		o.Packages = append(o.Packages, d.tools...)
		r := d.open(t)
		if r.Dir != "" {
			o.Sites[d.site] = http.FileServer(http.Dir(r.Dir))
			continue
		}
		u, err := url.Parse(r.Mirror())
		if err != nil {
			t.Fatal(err)
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		o.Upstreams = append(o.Upstreams, net.JoinHostPort(u.Hostname(), port))
	}
	return o
}

// sources are the flags that name the repository of a distribution, whose key
// is put on the host.
func (d distribution) sources(t *testing.T, h *testhost.Host) []string {
	t.Helper()
	r := d.open(t)
	if r.Dir == "" {
		return []string{"--mirror", r.Mirror()}
	}
	key := keyOnHost + d.name + ".asc"
	if !h.Exists(t, key) {
		h.CopyIn(t, r.Keyring, key)
	}
	return []string{"--mirror", "http://" + d.site + "/" + d.layout, "--keyring", key}
}

// command is the command line that makes a machine.
func (d distribution) command(t *testing.T, h *testhost.Host, name string, more ...string) []string {
	t.Helper()
	args := append([]string{"nspawn-build", "--distro", d.name, name}, d.sources(t, h)...)
	if d.release != "" {
		args = append(args, "--release", d.release)
	}
	return append(args, more...)
}

// release asks a machine what it is.
func release(t *testing.T, h *testhost.Host, m created) string {
	t.Helper()
	return strings.TrimSpace(ssh(t, h, "root@"+m.Address.String(), ". /etc/os-release; echo $ID").Stdout)
}

// TestThreeDistributionsRunSideBySide is the scenario of the product's name:
// machines of all families on one host, made by their own tools.
func TestThreeDistributionsRunSideBySide(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := install(t, kind.start(t, options(t, testhost.Options{}, arch, fedora)))
			arch.sources(t, h)
			fedora.sources(t, h)
			before := h.Snapshot(t)
			machines := map[string]created{
				"debian": create(t, h, debian("trixie", "deb")...),
				"arch":   create(t, h, arch.command(t, h, "arch", "--memory-max", "512M", "--cpu-quota", "50%")...),
				"fedora": create(t, h, fedora.command(t, h, "fed")...),
			}
			for id, m := range machines {
				t.Run(id, func(t *testing.T) {
					checkMachine(t, h, m)
					if got := release(t, h, m); got != id {
						t.Errorf("it says that it is %q", got)
					}
					gateway := ssh(t, h, "root@"+m.Address.String(), "ping -c1 -W2 $(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')")
					if gateway.Exit != 0 && !strings.Contains(gateway.Stderr, "not found") {
						t.Errorf("it does not reach its gateway: %s", gateway)
					}
					h.MustRun(t, "ping", "-c1", "-W2", m.Address.String())
				})
			}
			if h.Systemd() {
				t.Run("the service manager holds the limits", func(t *testing.T) {
					got := h.MustRun(t, "systemctl", "show", "systemd-nspawn@arch.service", "-p", "MemoryMax", "-p", "CPUQuotaPerSecUSec")
					if !strings.Contains(got, "MemoryMax=536870912\n") || !strings.Contains(got, "CPUQuotaPerSecUSec=500ms\n") {
						t.Errorf("it says\n%s", got)
					}
				})
			}
			t.Run("the same command again changes nothing", func(t *testing.T) {
				r := want(t, exitDone, h.Run(t, arch.command(t, h, "arch", "--memory-max", "512M", "--cpu-quota", "50%")...))
				if !strings.Contains(r.Stdout+r.Stderr, "already") {
					t.Errorf("it does not say so: %s", r)
				}
			})
			for d, m := range map[*distribution]created{&arch: machines["arch"], &fedora: machines["fedora"]} {
				t.Run("a package can be installed in "+d.name, func(t *testing.T) {
					if r := ssh(t, h, "root@"+m.Address.String(), "! command -v "+testrepo.ExtraPackage+" && "+d.install+" >/dev/null && command -v "+testrepo.ExtraPackage); r.Exit != 0 {
						t.Error(r)
					}
				})
			}
			for _, m := range machines {
				destroy(t, h, m.Name)
			}
			nothingLeft(t, h, before)
		})
	}
}

// TestToolsOfEveryDebianMakeTheSameMachines is about the versions of pacman
// and dnf that hosts have. What machines are like is seen by their packages;
// that they boot is the matter of another test.
func TestToolsOfEveryDebianMakeTheSameMachines(t *testing.T) {
	t.Parallel()
	made := map[string]map[string]string{} // distro, suite: the packages
	var mu sync.Mutex
	for _, suite := range []string{"bookworm", "trixie", "forky"} {
		t.Run(suite, func(t *testing.T) {
			more := []string{}
			if suite == "forky" {
				more = append(more, "dnf5")
			}
			h := install(t, testhost.StartDirect(t, options(t, testhost.Options{Suite: suite, Packages: more}, arch, fedora)))
			t.Log(h.MustRun(t, "sh", "-c", "pacman --version | sed -n 's/.*\\(Pacman v[^ ]*\\).*/\\1/p'; dnf --version | head -n1; ! command -v dnf5 >/dev/null || dnf5 --version | head -n1; rpm --version"))
			for _, d := range []distribution{arch, fedora} {
				variants := [][]string{nil}
				if suite == "forky" && d.name == "fedora" {
					variants = [][]string{{"--option", "engine=dnf"}, {"--option", "engine=dnf5"}}
				}
				for _, variant := range variants {
					name := strings.Join(append([]string{d.name}, variant...), " ")
					t.Run(name, func(t *testing.T) {
						args := append(d.command(t, h, "box", "--no-boot"), variant...)
						create(t, h, args...)
						var record struct {
							Facts struct {
								Packages []struct{ Name, Version string }
							}
						}
						if err := json.Unmarshal([]byte(h.ReadFile(t, "/var/lib/nspawn-build/machines/box.json")), &record); err != nil {
							t.Fatal(err)
						}
						var packages strings.Builder
						for _, p := range record.Facts.Packages {
							packages.WriteString(p.Name + " " + p.Version + "\n")
						}
						destroy(t, h, "box")
						mu.Lock()
						defer mu.Unlock()
						if made[d.name] == nil {
							made[d.name] = map[string]string{}
						}
						made[d.name][suite+name] = packages.String()
						for other, list := range made[d.name] {
							if list != packages.String() {
								t.Errorf("other packages than with %s:\n%s\nand\n%s", other, packages.String(), list)
							}
						}
					})
				}
			}
		})
	}
}
