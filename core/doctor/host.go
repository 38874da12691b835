package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// oldest is the version of systemd below which machines cannot be run:
// networkd reads its files again without a restart from then on.
const oldest = 244

// since are the versions of systemd that brought what is made use of.
var since = []struct {
	version int
	lacks   string // in earlier ones
}{
	{245, "links of machines with long names may clash"},
	{247, "--dns host does not work"},
	{249, "every file of a tree changes its owner at the machine's first start, which takes a while"},
	{250, "a bind cannot give its files to the machine's root"},
}

func (e *exam) nspawn(context.Context) []Finding {
	const id = "host.systemd"
	h := e.House.Host
	if h.Nspawn == "" {
		pkg := "systemd-container"
		if h.Family == sdk.FamilyArch {
			pkg = "systemd"
		}
		return one(fault("host.nspawn", "systemd-nspawn is not installed", "it is what runs machines", sdk.InstallCommand(h.Family, pkg)))
	}
	if h.SystemdVersion < oldest {
		return one(fault(id, fmt.Sprintf("systemd %d is too old", h.SystemdVersion), fmt.Sprintf("%d is the oldest that machines run on", oldest), ""))
	}
	kind := "is PID 1: machines are run by the service manager"
	if !h.Systemd {
		kind = "is not PID 1: machines are run by the direct driver"
	}
	found := one(ok(id, fmt.Sprintf("systemd %d %s", h.SystemdVersion, kind)))
	for _, s := range since {
		if h.SystemdVersion < s.version {
			found = append(found, note(id, fmt.Sprintf("systemd %d is older than %d: %s", h.SystemdVersion, s.version, s.lacks), "", ""))
		}
	}
	return found
}

// controlGroups tells whether limits can be kept.
func (e *exam) controlGroups(context.Context) []Finding {
	const id = "host.cgroups"
	h, err := cgroup.Find()
	switch {
	case err != nil:
		return one(untold(id, err))
	case h.Unified == "" && h.Named == "":
		return one(fault(id, "no cgroup hierarchy is mounted that systemd could use", "systemd-nspawn starts no machine without one", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"))
	case h.Unified == "" || h.Hybrid:
		const why = "limits (--memory-max and the like) need cgroup v2 alone"
		kind := "legacy"
		if h.Unified != "" {
			kind = "hybrid"
		}
		return one(note(id, "cgroups are "+kind+": limits of machines do not hold", why, "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line and boot the host again"))
	}
	have := h.Controllers()
	var missing []string
	for _, c := range []string{"cpu", "io", "memory", "pids"} {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return one(note(id, "cgroup v2 lacks the controllers "+strings.Join(missing, ", "), "the limits that need them do not hold on this host", ""))
	}
	return one(ok(id, "cgroup v2 has every controller that limits need"))
}

// users tells whether a machine's users can be others than the host's.
func (e *exam) users(context.Context) []Finding {
	const id = "host.user-namespaces"
	const why = "a machine's root would be the host's: systemd-nspawn refuses to start it"
	if most, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil && strings.TrimSpace(string(most)) == "0" {
		return one(fault(id, "user namespaces are turned off", why, "sysctl -w user.max_user_namespaces=65536"))
	}
	if err := host.UserNamespaces(); err != nil {
		return one(fault(id, "the kernel makes no user namespace: "+err.Error(), why, ""))
	}
	found := one(ok(id, "user namespaces can be made"))
	for _, dir := range e.treeDirectories() {
		found = append(found, idmap(dir))
	}
	return found
}

func idmap(dir string) Finding {
	const id = "host.idmap"
	err := host.IDMapped(dir)
	switch {
	case errors.Is(err, host.ErrNoIDMap):
		return note(id, "the file system of "+dir+" cannot be mounted with mapped owners",
			"every file of a tree changes its owner at the machine's first start, which takes a while and on overlayfs copies it",
			"")
	case err != nil:
		return untold(id, err)
	}
	return ok(id, "the file system of "+dir+" can be mounted with mapped owners")
}

// treeDirectories are the directories that hold trees, or would.
func (e *exam) treeDirectories() []string {
	dirs := []string{e.Directory}
	for _, m := range e.machines {
		dirs = append(dirs, filepath.Dir(m.Tree.Path))
	}
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return d == "" })
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// confinement is about SELinux and AppArmor.
func (e *exam) confinement(context.Context) []Finding {
	return slices.Concat(e.selinux(), apparmor())
}

func (e *exam) selinux() []Finding {
	const id, standard = "host.selinux", "/var/lib/machines"
	if mode, err := os.ReadFile("/sys/fs/selinux/enforce"); err != nil || strings.TrimSpace(string(mode)) != "1" {
		return one(ok(id, "SELinux enforces nothing"))
	}
	const why = "the policy lets systemd-nspawn run what is labelled for it, as " + standard + " is and a home is not"
	away := func(dir string) bool { return dir != standard && !strings.HasPrefix(dir, standard+"/") }
	if names := e.needs(func(m store.Machine) bool { return away(m.Tree.Path) }); len(names) > 0 {
		return one(warning(id, "SELinux enforces, and the trees of "+list(names)+" are not under "+standard, why, "make them again with --directory "+standard))
	}
	if away(e.Directory) {
		return one(note(id, "SELinux enforces: use --directory "+standard, why, ""))
	}
	return one(ok(id, "SELinux enforces, and trees are under "+standard))
}

func apparmor() []Finding {
	const id = "host.apparmor"
	profiles, err := os.ReadFile("/sys/kernel/security/apparmor/profiles")
	if err == nil {
		for line := range strings.Lines(string(profiles)) {
			name, mode, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.Contains(name, "systemd-nspawn") && mode == "(enforce)" {
				return one(note(id, "the AppArmor profile "+name+" confines systemd-nspawn", "what it forbids shows as a machine that does not start", "aa-complain "+name))
			}
		}
	}
	return one(ok(id, "no AppArmor profile confines systemd-nspawn"))
}
