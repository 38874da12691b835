package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// plugins looks at who can change the plugins, and whether they answer.
func (e *exam) plugins(ctx context.Context) []Finding {
	const id = "host.plugins"
	found := exposedPlugins(e.House.Plugins.Directories)
	listings, err := e.House.Plugins.List(ctx)
	if err != nil {
		return append(found, untold(id, err))
	}
	usable := 0
	for _, l := range listings {
		var refused *pluginhost.RefusedError
		switch {
		case l.Err == nil:
			usable++
			found = append(found, e.pluginTools(l)...)
		case errors.As(l.Err, &refused) && pluginhost.Hidden(l.Err):
			found = append(found, ok(id, refused.Error()))
		case errors.As(l.Err, &refused) && len(found) > 0 && found[0].ID == "host.plugin-directory":
			// said already, with what to do
		case errors.As(l.Err, &refused):
			found = append(found, fault(id, refused.Error(), "plugins run as root: only what was installed is run", command(refused.Hint)))
		default:
			found = append(found, fault(id, l.Path+" does not answer: "+l.Err.Error(), "its distributions cannot be made", "nspawn-build plugin list --log-level debug"))
		}
	}
	if usable == 0 {
		return append(found, fault(id, "there is no plugin that can be used", "plugins are what makes distributions", "make install"))
	}
	return append(found, ok(id, fmt.Sprintf("%d plugins can be used", usable)))
}

// command is the command in a hint, which ends in it.
func command(hint string) string {
	if at := strings.LastIndex(hint, ": "); at >= 0 {
		return hint[at+2:]
	}
	if strings.HasPrefix(hint, "chmod ") {
		return hint
	}
	return ""
}

// exposedPlugins finds what leads to a plugin and can be changed by others.
func exposedPlugins(dirs []string) []Finding {
	var found []Finding
	seen := map[string]bool{}
	check := func(path string, trusted uint32) {
		if seen[path] {
			return
		}
		seen[path] = true
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			return // what is not there is nobody's
		}
		var fix string
		switch sticky := st.Mode&unix.S_ISVTX != 0 && st.Uid == 0; {
		case st.Uid != 0 && st.Uid != trusted:
			fix = "chown root:root " + path
		case st.Mode&0o022 != 0 && !sticky:
			fix = "chmod go-w " + path
		default:
			return
		}
		found = append(found, fault("host.plugin-directory", path+" can be changed by others than root",
			"plugins run as root: whoever can put one there is root", fix))
	}
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(dir)
		if errors.Is(err, fs.ErrNotExist) || err != nil {
			continue
		}
		trusted := programOwner(dir)
		for d := real; ; d = filepath.Dir(d) {
			check(d, trusted)
			if d == "/" {
				break
			}
		}
		files, err := filepath.Glob(filepath.Join(real, sdk.BinaryPrefix+"*"))
		if err != nil {
			continue
		}
		for _, f := range append(files, filepath.Join(real, "plugins.lock")) {
			check(f, trusted)
		}
	}
	return found
}

// programOwner is who may own plugins beside root: in a build tree, whoever
// owns the program.
func programOwner(dir string) uint32 {
	exe, err := os.Executable()
	if err != nil || dir != filepath.Join(filepath.Dir(exe), "plugins") {
		return 0
	}
	var st unix.Stat_t
	if unix.Stat("/proc/self/exe", &st) != nil {
		return 0
	}
	return st.Uid
}

// pluginTools says which distributions of a plugin this host lacks tools for.
func (e *exam) pluginTools(l pluginhost.Listing) []Finding {
	const id = "host.tools"
	var found []Finding
	said := map[string]bool{}
	for _, d := range l.Description.Distros {
		missing, fix := e.House.Lacking(l.Description, d.Name)
		if len(missing) == 0 {
			found = append(found, ok(id, "this host has the tools to make "+d.Name))
			continue
		}
		what := "to make " + d.Name + " machines this host lacks " + strings.Join(missing, ", ")
		if tools := strings.Join(missing, ", "); !said[tools] {
			said[tools] = true
			found = append(found, note(id, what, "", fix))
		}
	}
	return found
}

// tools are the programs that every machine needs on the host.
func (e *exam) tools(context.Context) []Finding {
	const id = "host.tools"
	var found []Finding
	for _, t := range []struct {
		program, purpose string
		packages         map[string]string
	}{
		{"nsenter", "to look into machines", map[string]string{sdk.FamilyDebian: "util-linux", sdk.FamilyArch: "util-linux", sdk.FamilyFedora: "util-linux"}},
		{"ssh", "to log in to machines", map[string]string{sdk.FamilyDebian: "openssh-client", sdk.FamilyArch: "openssh", sdk.FamilyFedora: "openssh-clients"}},
	} {
		if _, err := exec.LookPath(t.program); err != nil {
			found = append(found, warning(id, "this host lacks "+t.program, "it is needed "+t.purpose,
				sdk.InstallCommand(e.House.Host.Family, t.packages[e.House.Host.Family])))
			continue
		}
		found = append(found, ok(id, "this host has "+t.program+" "+t.purpose))
	}
	return found
}
