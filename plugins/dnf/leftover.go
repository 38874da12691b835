package main

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// forgetCache removes what dnf 4 keeps of its cache in the tree, below the path
// that the cache has on this host: which of the directories on the way there are
// a package's, rpm knows.
func (r *run) forgetCache(ctx context.Context) error {
	cache := strings.TrimPrefix(r.downloadsPath(), "/")
	if _, err := r.tree.Lstat(cache); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := r.tree.Clear(cache); err != nil {
		return err
	}
	for dir := cache; dir != "."; dir = path.Dir(dir) {
		entries, err := fs.ReadDir(r.tree.FS(), dir)
		if err != nil || len(entries) > 0 {
			return err
		}
		owned, err := r.owned(ctx, "/"+dir)
		if err != nil || owned {
			return err
		}
		if err := r.tree.Delete(dir); err != nil {
			return err
		}
	}
	return nil
}

// owned tells whether a path is of an installed package.
func (r *run) owned(ctx context.Context, name string) (bool, error) {
	err := r.ask(ctx, r.rpm("--file", "--", name), nil)
	var failure *sdk.Failure
	if errors.As(err, &failure) && failure.Code == sdk.CodeTool {
		return false, nil
	}
	return err == nil, err
}
