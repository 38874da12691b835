package image

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"time"
)

// Tool is a program of the host that the bytes of an image depend on.
type Tool struct{ Name, Version string }

// asked are the programs of a format, and how they are had to say their version,
// in the order in which it is tried. tune2fs comes with resize2fs, and does not.
func asked(f Format) (program string, ways [][]string) {
	switch f {
	case TarXZ:
		return "xz", [][]string{{"--version"}}
	case Squashfs:
		return "sqfstar", [][]string{{"-version"}}
	case Erofs: // up to 1.5 it says it only when it is about to begin
		return "mkfs.erofs", [][]string{{"-V"}, {"none", "none/none"}}
	case Raw:
		return "resize2fs", [][]string{{}}
	}
	return "", nil
}

// Tools are the programs that write images of a format, with their versions; one
// that does not say its version has none. What this program does itself is not
// among them.
func Tools(ctx context.Context, f Format) (_ []Tool, err error) {
	program, ways := asked(f)
	if program == "" {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "nspawn-build-version-") // for what begins after all
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, arguments := range ways {
		if v := versionIn(program, said(ctx, dir, program, arguments)); v != "" {
			return []Tool{{program, v}}, ctx.Err()
		}
	}
	return []Tool{{Name: program}}, ctx.Err()
}

// said is what a program prints, however it ends.
func said(ctx context.Context, dir, program string, arguments []string) string {
	path, err := lookUp(program)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, arguments...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/local/bin:/usr/bin:/bin:" + sbin, "LC_ALL=C"}
	text, _ := cmd.CombinedOutput()
	return string(text)
}

// versionIn finds the version in what a program says of itself: a number with a
// dot in the line that begins with its name.
func versionIn(program, text string) string {
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(program) + `(?:[ \t][^\n]*?)?[ \t]v?(\d+\.\d[\w.+~-]*)`).FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return found[1]
}
