package testrepo

import (
	"context"
	"fmt"
	"os"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// formatVersion is part of every key: raise it when what the code makes of the
// same tables and packages changes.
const formatVersion = "1"

// cached returns the directory of that kind made from parts, out of the cache
// that testhost keeps its trees in. build fills it when it is not there yet.
func cached(ctx context.Context, kind string, parts []string, build func(dir string) error) (string, error) {
	return testhost.Cached(ctx, kind, append([]string{formatVersion}, parts...), func(dir string) error {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make the directory of %s: %w", kind, err)
		}
		return build(dir)
	})
}
