package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/rootcache"
)

// cache reads the trees that are kept. What is wrong with one costs time and
// nothing else: it is bootstrapped again.
func (e *exam) cache(ctx context.Context) []Finding {
	const id = "host.cache"
	c, err := rootcache.Open(machines.RootsDir)
	var unsafe *rootcache.UnsafeError
	if errors.As(err, &unsafe) {
		return one(warning(id, unsafe.Error(), "what is in it would become the root of machines", "rm -r "+unsafe.Dir))
	}
	if err != nil {
		return one(untold(id, err))
	}
	h, err := c.Check(ctx)
	if err != nil {
		return one(untold(id, err))
	}
	var found []Finding
	mend := func(f Finding) {
		found = append(found, f.fixable(c.Mend))
	}
	if n := len(h.Damaged); n > 0 {
		f := warning(id, fmt.Sprintf("%d of the trees that are kept cannot be used: what was written of them has changed", n), "each is bootstrapped again when it is needed", "")
		f.Detail = h.Damaged
		mend(f)
	}
	if h.Half > 0 {
		mend(warning(id, fmt.Sprintf("beside the trees that are kept there are %d half made or half removed", h.Half), "they take room until the next tree is kept", ""))
	}
	if len(found) == 0 {
		return one(ok(id, fmt.Sprintf("all %d trees that are kept are as they were written", h.Sound)))
	}
	return found
}
