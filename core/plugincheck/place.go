package plugincheck

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/quarters"
)

// trials are what quarters are taken for: the trees that plugins make. Those of a
// trial that was killed are removed by the next one in the same place.
var trials = quarters.Kind{Prefix: "trial-", Clear: clearTrial}

// Place takes a directory below dir for one trial. leave removes it with all that
// is in it, and dir too when it was not there before.
func Place(dir string) (place string, leave func() error, err error) {
	_, before := os.Stat(dir)
	q, err := trials.Take(filepath.Join(dir, "trials"))
	if err != nil {
		return "", nil, err
	}
	return q.Dir, func() error {
		if err := clearTrial(q.Dir); err != nil {
			return err // what is mounted there must not be emptied
		}
		err := q.Leave()
		if errors.Is(before, os.ErrNotExist) {
			_ = os.Remove(dir) // unless something else is in it by now
		}
		return err
	}, nil
}

// clearTrial removes what is in a trial's directory.
func clearTrial(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, Remove(context.Background(), filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
