package rootcache

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Miss says that there is no tree of a key, and why.
type Miss struct {
	Reason string
	// Near is the entry that differs in the fewest parts; nil when there is none
	// of that distribution.
	Near    *Entry
	Damaged bool
}

// Error is the reason.
func (m *Miss) Error() string { return ErrMiss.Error() + ": " + m.Reason }

// Is makes every Miss an ErrMiss.
func (*Miss) Is(target error) bool { return target == ErrMiss }

// Look says what Take would find, without making anything: nil, or a *Miss. That
// an entry is sound shows only when it is taken.
func (c *Cache) Look(k Key) (*Entry, error) {
	r, err := c.open(k.Digest())
	if err != nil {
		return nil, c.miss(k)
	}
	e := r.Entry
	return &e, r.close()
}

// miss finds out what the nearest entry differs in.
func (c *Cache) miss(k Key) *Miss {
	all, _ := c.List() // what cannot be read is not near
	var near *Entry
	var differs []Part
	for i, e := range all {
		if e.Key.Plugin != k.Plugin || e.Key.Distro() != k.Distro() {
			continue
		}
		d := Differing(k.Compare(e.Key))
		if near == nil || len(d) < len(differs) || len(d) == len(differs) && e.Made.After(near.Made) {
			near, differs = &all[i], d
		}
	}
	if near == nil {
		return &Miss{Reason: "no tree of " + k.Distro() + " is kept"}
	}
	const shown = 4
	var words []string
	for _, d := range differs[:min(len(differs), shown)] {
		words = append(words, d.String())
	}
	if more := len(differs) - shown; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return &Miss{
		Near:   near,
		Reason: fmt.Sprintf("the nearest, of %s, differs: %s", near.Made.Format(time.DateTime), strings.Join(words, "; ")),
	}
}

// Newest is the key of the newest entry of the same request, by the same plugin,
// whatever its repositories held and however old its tool was. It is for who
// cannot ask, and says so.
func (c *Cache) Newest(k Key) (Key, bool) {
	all, _ := c.List() // what cannot be read is not taken
	slices.SortFunc(all, func(a, b Entry) int { return b.Made.Compare(a.Made) })
	for _, e := range all {
		same := e.Key
		same.Engine, same.Repository = k.Engine, k.Repository
		if same.Digest() == k.Digest() {
			return e.Key, true
		}
	}
	return Key{}, false
}
