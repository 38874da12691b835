package spec

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Customize is what is done to a tree beyond what the distribution's packages
// make of it, right after it was bootstrapped.
type Customize struct {
	// Copies are made first, in this order.
	Copies []Copy `json:"copies,omitempty"`
	// Scripts are programs of the host that run in the tree, by their absolute
	// paths.
	Scripts []string `json:"scripts,omitempty"`
	Hooks   []Hook   `json:"hooks,omitempty"`
	// Network lets scripts and hooks use the host's network.
	Network bool `json:"network,omitempty"`
}

// Copy puts a file or a tree of the host into the machine's.
type Copy struct {
	Source string `json:"source"` // absolute, on the host
	Target string `json:"target"` // absolute, in the tree; "/" at its end puts the copy into it
}

// String is the form of the flag.
func (c Copy) String() string {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace
	return escape(c.Source) + ":" + escape(c.Target)
}

// ParseCopy reads SOURCE:TARGET. A colon in a path is written \:.
func ParseCopy(s string) (Copy, *FieldError) {
	bad := func(problem string) (Copy, *FieldError) {
		return Copy{}, &FieldError{"customize.copy", s, problem, "write SOURCE:TARGET with absolute paths, such as /srv/app:/opt/app"}
	}
	parts := splitEscaped(s)
	if len(parts) != 2 {
		return bad("is not a source and a target")
	}
	for _, p := range parts {
		if !path.IsAbs(p) || hasControl(p) || strings.HasSuffix(p, `\`) {
			return bad("holds a path that is not absolute")
		}
		if strings.HasSuffix(p, "/..") || strings.Contains(p, "/../") {
			return bad("holds a path with ..")
		}
	}
	c := Copy{Source: path.Clean(parts[0]), Target: path.Clean(parts[1])}
	if strings.HasSuffix(parts[1], "/") && c.Target != "/" {
		c.Target += "/"
	}
	switch {
	case c.Source == "/":
		return bad("is about a whole root directory")
	case slices.ContainsFunc(kernels, func(k string) bool { return Within(strings.TrimSuffix(c.Target, "/"), k) }):
		return bad("has a target where the machine's own systemd mounts")
	}
	return c, nil
}

// Hook is a command that runs in the tree before or after a stage.
type Hook struct {
	Point   HookPoint `json:"point"`
	Stage   string    `json:"stage"`
	Command string    `json:"command"` // for the tree's own sh
}

// HookPoint is on which side of its stage a hook runs.
type HookPoint string

// The points.
const (
	HookBefore HookPoint = "before"
	HookAfter  HookPoint = "after"
)

// String is the form of the flag.
func (h Hook) String() string { return string(h.Point) + ":" + h.Stage + ":" + h.Command }

// hookStages are the stages that a hook may be at, in running order. Images
// have those up to network.
var hookStages = []string{"bootstrap", "customize", "password", "services", "network", "settings", "limits", "boot"}

// ImageStages are the stages of which an image is made.
var ImageStages = hookStages[:5]

// ParseHook reads before|after:STAGE:COMMAND.
func ParseHook(s string) (Hook, *FieldError) {
	bad := func(problem, hint string) (Hook, *FieldError) {
		return Hook{}, &FieldError{"customize.hook", s, problem, hint}
	}
	point, rest, _ := strings.Cut(s, ":")
	stage, command, ok := strings.Cut(rest, ":")
	h := Hook{HookPoint(point), stage, strings.TrimSpace(command)}
	switch {
	case !ok || h.Point != HookBefore && h.Point != HookAfter:
		return bad("is not a hook", "write before:STAGE:COMMAND or after:STAGE:COMMAND")
	case !slices.Contains(hookStages, stage):
		return bad("is at no stage", "the stages are "+strings.Join(hookStages, ", "))
	case h.Point == HookBefore && stage == hookStages[0]:
		return bad("comes before there is a tree that it could run in", "write after:bootstrap:COMMAND")
	case h.Point == HookAfter && stage == "boot":
		return bad("comes when the machine runs, and its tree is the machine's own", "write before:boot:COMMAND, or run the command with nspawn-build exec")
	case h.Command == "":
		return bad("has no command", "write "+point+":"+stage+":COMMAND")
	case strings.ContainsRune(h.Command, 0):
		return bad("holds a character that no command can have", "leave it out")
	}
	return h, nil
}

// Own are the hooks of one stage at one point, by their places in the list.
func (c Customize) Own(point HookPoint, stage string) []int {
	var own []int
	for i, h := range c.Hooks {
		if h.Point == point && h.Stage == stage {
			own = append(own, i)
		}
	}
	return own
}

// IsZero says that there is nothing to customise.
func (c Customize) IsZero() bool {
	return len(c.Copies) == 0 && len(c.Scripts) == 0 && len(c.Hooks) == 0 && !c.Network
}

func (b *build) customize(in Input) {
	c := &b.spec.Customize
	for _, s := range in.Copies {
		one, e := ParseCopy(s)
		b.note(e)
		c.Copies = append(c.Copies, one)
	}
	for _, s := range in.Scripts {
		if !filepath.IsAbs(s) || hasControl(s) {
			b.note(&FieldError{"customize.script", s, "is not the path of a file", "name an executable file of this host"})
		}
		c.Scripts = append(c.Scripts, filepath.Clean(s))
	}
	for _, s := range in.Hooks {
		h, e := ParseHook(s)
		b.note(e)
		c.Hooks = append(c.Hooks, h)
	}
	c.Network = in.ScriptNetwork
	if c.Network && len(c.Scripts) == 0 && len(c.Hooks) == 0 && len(b.found) == 0 {
		b.note(&FieldError{"customize.network", "", "lets scripts and hooks use the network, and there is neither", "give a --script or a --hook, or leave it out"})
	}
}

// Taken is what a customisation took from the host: a file or a tree, by what
// it was like.
type Taken struct {
	Field  string `json:"field"` // of the form on disk: "customize.scripts"
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// DiffTaken lists what is not as it was, for the same customisation.
func DiffTaken(before, after []Taken) []Difference {
	var out []Difference
	for i := range min(len(before), len(after)) {
		if a, b := before[i], after[i]; a.Path == b.Path && a.SHA256 != b.SHA256 {
			const shown = 12
			short := func(s string) string { return "sha256 " + s[:min(shown, len(s))] }
			out = append(out, Difference{a.Field + "." + a.Path, short(a.SHA256), short(b.SHA256)})
		}
	}
	return out
}
