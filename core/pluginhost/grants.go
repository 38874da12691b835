package pluginhost

import (
	"fmt"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// writable are the directories that were granted.
func (g Grants) writable() []string {
	var dirs []string
	for _, dir := range []string{g.Target, g.CacheDirectory, g.WorkDirectory} {
		if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// check refuses paths that could mean another place than they say.
func (g Grants) check() error {
	for _, path := range append(g.writable(), g.Readable...) {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			return fmt.Errorf("granting %q to a plugin: it is not a clean absolute path", path)
		}
	}
	return nil
}

// cover makes sure that a request's directories are those of the grants: a
// plugin would only see that they are not writable.
func (g Grants) cover(req sdk.Request) error {
	for field, pair := range map[string][2]string{
		"target":          {req.Target, g.Target},
		"cache directory": {req.CacheDirectory, g.CacheDirectory},
		"work directory":  {req.WorkDirectory, g.WorkDirectory},
	} {
		if pair[0] != pair[1] {
			return fmt.Errorf("the request's %s is %q, and %q was granted to the plugin", field, pair[0], pair[1])
		}
	}
	return nil
}
