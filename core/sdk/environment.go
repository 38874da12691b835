package sdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// toolPath is the PATH of tools. It is fixed, so that what runs as root does
// not depend on whose shell started it.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// passedOn names the variables of the plugin's own environment that its tools
// see too. Nothing else is: the go-plugin cookie and certificate, which give
// access to the plugin's socket, above all.
var passedOn = []string{
	"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
	"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
}

// Environment is the environment in which Command runs a tool: PATH, LANG,
// HOME, TMPDIR and the proxies, then extra, whose values win.
func Environment(extra ...string) []string {
	env := []string{
		"PATH=" + toolPath,
		"LANG=C.UTF-8",
		"HOME=" + envOr("HOME", "/root"),
		"TMPDIR=" + envOr("TMPDIR", "/tmp"),
	}
	for _, name := range passedOn {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return append(env, extra...)
}

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// FindTool returns the path of the first of names that is a program on the
// PATH that Command uses, and "" when none is. A name with a slash is a path.
func FindTool(names ...string) string {
	for _, name := range names {
		if path, err := findIn(toolPath, name); err == nil {
			return path
		}
	}
	return ""
}

// findIn looks name up in the directories of path, as execvp would.
func findIn(path, name string) (string, error) {
	if name == "" {
		return "", exec.ErrNotFound
	}
	if strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", exec.ErrNotFound
}

// pathOf returns the PATH that holds in env: the last one given.
func pathOf(env []string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], "PATH="); ok {
			return value
		}
	}
	return ""
}
