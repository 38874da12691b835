package image

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// longestErofs is the longest name that mkfs.erofs takes: one less than the file
// system itself would.
const longestErofs = 254

// erofs gives mkfs.erofs a tree that was staged: older versions take nothing else. What
// it sees of that, it sorts, but for the attributes of a file with several.
func (j *job) erofs() (string, int64, error) {
	if err := j.checkNames(longestErofs); err != nil {
		return "", 0, err
	}
	digest, err := j.stage("tree")
	if err != nil {
		return "", 0, err
	}
	// -T would be the time of every file.
	t := tool{dir: j.scratch.dir, environment: []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(j.moment(), 10)}}
	several, err := j.severalXattrs()
	if err != nil {
		return "", 0, err
	}
	arguments := []string{"--quiet", "-zlz4hc", "-U", identity("erofs", digest)}
	if several { // none are shared by files: see sortErofs
		arguments = append(arguments, "-x", strconv.Itoa(math.MaxInt32))
	}
	if err := t.run(j.ctx, "mkfs.erofs", append(arguments, result, "tree")...); err != nil {
		return "", 0, err
	}
	if several {
		if err := sortErofs(j.scratch.path(result)); err != nil {
			return "", 0, err
		}
	}
	if err := os.Chmod(j.scratch.path(result), 0o644); err != nil {
		return "", 0, err
	}
	return j.digestOf(result)
}

// severalXattrs tells whether any file has more than one extended attribute.
func (j *job) severalXattrs() (several bool, err error) {
	err = j.tree.Visit(j.ctx, nil, func(e rootfs.Entry) error {
		several = several || len(e.Xattrs) > 1
		return nil
	})
	return several, err
}

func (j *job) checkNames(longest int) error {
	return j.tree.Visit(j.ctx, nil, func(e rootfs.Entry) error {
		if base := baseName(e.Name); len(base) > longest {
			return fmt.Errorf("the name of %q has %d bytes, and this format has room for %d", e.Name, len(base), longest)
		}
		return nil
	})
}
