package machines

import "github.com/nspawn-build/nspawn-build/core/stages"

// RootsDir is where bootstrapped trees are kept, and PackagesDir where plugins
// keep what they download.
const (
	RootsDir    = CacheDir + "/rootfs"
	PackagesDir = CacheDir + "/packages"
)

// cacheUse is what the cache had to do with a machine; nil when nothing.
func (m *making) cacheUse() *stages.CacheUse {
	c, ok := m.origin.(*stages.Cached)
	if !ok {
		return nil
	}
	use := c.Use()
	return &use
}
