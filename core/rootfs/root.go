package rootfs

import (
	"fmt"
	"os"
)

// MakeRoot makes the directory that is to be a tree's root, of mode 0755
// whatever the umask. The directory above must belong to nobody but the caller.
func MakeRoot(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return fmt.Errorf("make the root of a tree: %w", err)
	}
	return os.Chmod(path, 0o755)
}
