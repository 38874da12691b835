package stages

import (
	"context"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Caching is how trees that are kept are used.
type Caching struct {
	Cache    *rootcache.Cache // nil when none are
	Offline  bool             // take what is kept, though nobody can be asked whether it is current
	From, To []Registry
}

// OfflineError says that nothing is kept for who cannot ask.
type OfflineError struct{ Distro string }

func (e *OfflineError) Error() string {
	return fmt.Sprintf("no tree of %s is kept that was made of the same request", e.Distro)
}

// Hint says what would do.
func (e *OfflineError) Hint() string {
	return "leave out --offline, so that it is bootstrapped; nspawn-build cache list shows what is kept"
}

// Of decorates an origin, so that its trees are kept and need not be made again.
// The plugin, whose program has that SHA-256 and which runs in session, is asked
// what its repositories hold; where that cannot be told, nothing is taken and
// nothing is kept.
//
// after is to be called in the session that has made a tree.
func (k Caching) Of(ctx context.Context, session sdk.Stater, plugin, program string, from *FromPlugin) (_ Origin, after func(context.Context, sdk.Stater), err error) {
	after = func(context.Context, sdk.Stater) {}
	if k.Cache == nil {
		return from, after, nil
	}
	c := &Cached{
		Origin: from, Cache: k.Cache, Offline: k.Offline,
		From: k.From, To: k.To, Tell: from.Tell,
	}
	var state sdk.State
	if c.Offline {
		c.From, c.To = nil, nil
	} else if state, err = session.State(ctx, from.Request); err != nil {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		from.Tell(pipeline.Event{
			Stage: NameBootstrap, Kind: pipeline.Warning, Text: "no cached tree is used: " + err.Error(),
			Hint: "to use one that may not be current: --offline",
		})
		return from, after, nil
	}
	if c.Key, err = rootcache.NewKey(plugin, program, state, from.Request); err != nil {
		return nil, nil, err
	}
	if c.Offline {
		key, found := c.Cache.Newest(c.Key)
		if !found {
			return nil, nil, &OfflineError{from.Request.Distro}
		}
		c.Key, state = key, sdk.State{Repository: key.Repository}
	}
	if len(state.Repository) == 0 {
		return from, after, nil // it cannot be told what a tree would be made of
	}
	current := false
	c.Current = func() bool { return current }
	c.Look()
	return c, func(ctx context.Context, session sdk.Stater) {
		state, err := session.State(ctx, from.Request)
		if err != nil {
			return
		}
		key, err := rootcache.NewKey(plugin, program, state, from.Request)
		current = err == nil && key.Digest() == c.Key.Digest()
	}, nil
}
