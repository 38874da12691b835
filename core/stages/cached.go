package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// CacheUse is what the cache of trees had to do with a tree.
type CacheUse struct {
	Hit    bool   `json:"hit"`
	Key    string `json:"key,omitempty"`    // its digest; empty when there is none
	Reason string `json:"reason,omitempty"` // why it is a miss, or where a hit is from
	// Made is when the tree was bootstrapped; of a hit.
	Made *time.Time `json:"made,omitempty"`
	// Tree is the digest of the tree's canonical tar, as it was bootstrapped.
	Tree string `json:"tree,omitempty"`
	// Parts are those of the key, compared with the nearest tree that is kept.
	Parts []rootcache.Part `json:"parts,omitempty"`
}

// Registry is where caches of several hosts meet. What it gives is checked.
type Registry interface {
	// Pull puts the entry of a key into the cache; rootcache.ErrMiss when there
	// is none, and rootcache.ErrUnsound when what is there is not of the key. The
	// lock of the key is held.
	Pull(ctx context.Context, k rootcache.Key, into *rootcache.Cache) error
	// Push uploads an entry, unless it is there and not to be replaced.
	Push(ctx context.Context, e rootcache.Entry, from *rootcache.Cache, replace bool) error
	// Where names it to people.
	Where() string
}

// Cached is an origin whose trees are kept, and which need not be made when one
// is there already.
type Cached struct {
	Origin Origin
	Cache  *rootcache.Cache
	Key    rootcache.Key
	// Current tells, once Origin has made a tree, whether it is of Key still:
	// repositories may have changed meanwhile.
	Current func() bool
	// Offline says that Key is of a tree that is kept, and that nobody asked
	// whether it would be made the same today.
	Offline  bool
	From, To []Registry
	Tell     pipeline.Observer

	use CacheUse
	// kept is the entry that the tree is of, or was put as; nil without one.
	kept *rootcache.Entry
	// pulled is the registry that the tree is from; unsound are those that have
	// under the key what cannot be used.
	pulled  string
	unsound []string
}

// Use is what came of the cache; before Make, what would.
func (c *Cached) Use() CacheUse { return c.use }

// Look finds out what Make would find.
func (c *Cached) Look() {
	c.use = CacheUse{Key: c.Key.Digest(), Parts: c.Key.Compare(rootcache.Key{})}
	e, err := c.Cache.Look(c.Key)
	if err == nil {
		c.hit(*e)
		return
	}
	c.missed(err)
}

func (c *Cached) hit(e rootcache.Entry) {
	c.use = CacheUse{
		Hit: true, Key: e.Digest, Made: &e.Made, Tree: e.Tree, Parts: c.Key.Compare(e.Key),
		Reason: "bootstrapped " + ago(time.Since(e.Made)),
	}
	if c.pulled != "" {
		c.use.Reason += ", had from " + c.pulled
	}
	if c.Offline {
		c.use.Reason += ", and whether it is still current nobody asked"
	}
}

func (c *Cached) missed(err error) {
	c.use.Hit, c.use.Reason = false, err.Error()
	var miss *rootcache.Miss
	if !errors.As(err, &miss) {
		return
	}
	c.use.Reason = miss.Reason
	if miss.Near != nil {
		c.use.Parts = c.Key.Compare(miss.Near.Key)
	}
}

// Detail is that of the origin, and whether the tree is there already.
func (c *Cached) Detail() string {
	if c.use.Hit {
		return c.Origin.Detail() + ", from the cache: " + c.use.Reason
	}
	return c.Origin.Detail()
}

// Make takes the tree out of the cache. When it is not there, the origin makes
// it and it is kept. While others make the same tree it is waited for. What is
// kept then is uploaded, with no lock held: nobody waits for that.
func (c *Cached) Make(ctx context.Context, of *store.Record, root, work string) (sdk.Facts, error) {
	facts, done, err := c.take(ctx, root)
	if !done && err == nil {
		facts, err = c.make(ctx, of, root, work)
	}
	if err == nil {
		c.push(ctx)
	}
	return facts, err
}

// make is Make for a tree that is not there.
func (c *Cached) make(ctx context.Context, of *store.Record, root, work string) (sdk.Facts, error) {
	release, err := c.Cache.Lock(ctx, c.Key, func() { c.say("wait for who makes the same tree") })
	if err != nil {
		if ctx.Err() != nil {
			return sdk.Facts{}, err
		}
		c.warn("the cache of trees cannot be used: "+err.Error(), "")
		return c.Origin.Make(ctx, of, root, work)
	}
	facts, err := c.fill(ctx, of, root, work)
	return facts, errors.Join(err, release())
}

// fill makes the tree and keeps it, unless it has come to be there meanwhile.
func (c *Cached) fill(ctx context.Context, of *store.Record, root, work string) (sdk.Facts, error) {
	if c.Cache.Has(c.Key.Digest()) || c.pull(ctx) {
		if facts, done, err := c.take(ctx, root); done || err != nil {
			return facts, err
		}
	}
	facts, err := c.Origin.Make(ctx, of, root, work)
	if err != nil {
		return facts, err
	}
	if !c.Current() {
		c.warn("the repositories changed while the tree was made: it is not kept", "")
		return facts, nil
	}
	c.say("keep the tree")
	tree, err := rootfs.Open(root)
	if err != nil {
		return facts, err
	}
	e, err := c.Cache.Put(ctx, c.Key, tree, facts)
	if err := tree.Close(); err != nil {
		return facts, err
	}
	switch {
	case ctx.Err() != nil:
		return facts, context.Cause(ctx)
	case err != nil:
		c.warn(err.Error(), "the machine is made all the same; nspawn-build cache prune makes room")
		return facts, nil
	}
	c.use.Tree, c.kept = e.Tree, &e
	return facts, nil
}

// take makes root of what is kept; done tells that it did.
func (c *Cached) take(ctx context.Context, root string) (sdk.Facts, bool, error) {
	if !c.Cache.Has(c.Key.Digest()) {
		return sdk.Facts{}, false, nil
	}
	c.say("take the tree from the cache")
	e, err := c.taken(ctx, root)
	switch {
	case err == nil:
		c.kept = &e
		c.hit(e)
		c.say("from the cache: " + c.use.Reason)
		return e.Facts, true, nil
	case ctx.Err() != nil:
		return sdk.Facts{}, false, context.Cause(ctx)
	case !errors.Is(err, rootcache.ErrMiss):
		c.warn(err.Error(), "it is bootstrapped instead")
	}
	c.missed(err)
	return sdk.Facts{}, false, nil
}

// taken looks at what is known of the tree before there is one.
func (c *Cached) taken(ctx context.Context, root string) (rootcache.Entry, error) {
	e, err := c.Cache.Look(c.Key)
	if err != nil {
		return c.Cache.Take(ctx, c.Key, root) // which says what is wrong with it
	}
	if err := checkFacts(e.Facts); err != nil {
		if c.pulled != "" {
			c.unsound = append(c.unsound, c.pulled)
		}
		return rootcache.Entry{}, fmt.Errorf("the tree that is kept is of no use: %w", err)
	}
	return c.Cache.Take(ctx, c.Key, root)
}

// pull asks the registries, one after the other.
func (c *Cached) pull(ctx context.Context) bool {
	for _, r := range c.From {
		c.say("ask " + r.Where())
		err := r.Pull(ctx, c.Key, c.Cache)
		if err == nil {
			c.pulled = r.Where()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if errors.Is(err, rootcache.ErrMiss) {
			c.use.Reason += "; " + r.Where() + " has none"
			continue
		}
		what := fmt.Sprintf("%s is of no use: %s", r.Where(), sdk.Clean(err.Error(), 512))
		c.use.Reason += "; " + what
		c.warn(what, "")
		if errors.Is(err, rootcache.ErrUnsound) {
			c.unsound = append(c.unsound, r.Where())
		}
	}
	return false
}

// push uploads what is kept to where it is not, also in place of what was of no
// use: else nobody would share that tree again. That it cannot is no reason to
// fail.
func (c *Cached) push(ctx context.Context) {
	if c.kept == nil {
		return
	}
	for _, r := range c.To {
		replace := slices.Contains(c.unsound, r.Where())
		if r.Where() == c.pulled && !replace {
			continue // it is from there
		}
		c.say("share it by " + r.Where())
		if err := r.Push(ctx, *c.kept, c.Cache, replace); err != nil && ctx.Err() == nil {
			c.warn(fmt.Sprintf("the tree is not uploaded to %s: %s", r.Where(), sdk.Clean(err.Error(), 512)), "")
		}
	}
}

func (c *Cached) say(text string) {
	c.Tell(pipeline.Event{Stage: NameBootstrap, Kind: pipeline.Progress, Text: text})
}

func (c *Cached) warn(text, hint string) {
	c.Tell(pipeline.Event{Stage: NameBootstrap, Kind: pipeline.Warning, Text: text, Hint: hint})
}

// ago says how long something is over, as people do.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours())/24)
}
