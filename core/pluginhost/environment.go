package pluginhost

import (
	"bytes"
	"os"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// pluginEnvironment is what a plugin gets to see of the environment: the path
// of its tools and the way out to its mirrors. The parent's may hold anything.
func pluginEnvironment() []string {
	env := []string{"PATH=", "LANG=C.UTF-8", "HOME=" + homeDirectory, "TMPDIR=/tmp"}
	for _, kv := range sdk.Environment() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "PATH":
			env[0] = kv
		case "LANG", "HOME", "TMPDIR":
		default:
			env = append(env, kv) // a proxy
		}
	}
	return env
}

// shimEnvironment is that of the first process. GOCOVERDIR is how a program
// that is built for it says where its coverage goes.
func shimEnvironment() []string {
	env := []string{"GOMAXPROCS=1", "GOGC=off"}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		env = append(env, "GOCOVERDIR="+dir)
	}
	return env
}

func splitLines(content []byte) [][]byte { return bytes.Split(bytes.TrimSpace(content), []byte("\n")) }
