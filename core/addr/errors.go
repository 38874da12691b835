package addr

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ExhaustedError says that no subnet of a pool is free.
type ExhaustedError struct {
	Pool     Pool
	Machines []netip.Prefix // the subnets of machines within the pool
	Host     []netip.Prefix // the host's routes and addresses that overlap it
}

func (e *ExhaustedError) Error() string {
	var by []string
	if n := len(e.Machines); n > 0 {
		by = append(by, fmt.Sprintf("%d used by machines", n))
	}
	if len(e.Host) > 0 {
		by = append(by, "the host itself has "+list(e.Host))
	}
	return fmt.Sprintf("no free subnet in the pool %s: %s", e.Pool, strings.Join(by, ", "))
}

// Hint says what the user can do.
func (e *ExhaustedError) Hint() string {
	if len(e.Machines) == 0 {
		return "pass --address and --gateway, or configure another pool in /etc/nspawn-build/config.yaml"
	}
	return "destroy a machine, pass --address and --gateway, or configure another pool in /etc/nspawn-build/config.yaml"
}

func exhausted(p Pool, used, taken []netip.Prefix) *ExhaustedError {
	return &ExhaustedError{Pool: p, Machines: p.within(used), Host: p.within(taken)}
}

// within returns the prefixes of list that take something of the pool, sorted
// and each once.
func (p Pool) within(list []netip.Prefix) []netip.Prefix {
	var in []netip.Prefix
	for _, q := range list {
		q = plain(q)
		below := q.IsValid() && q.Addr().Compare(lastOf(p.Last)) <= 0
		if occupies(q) && below && lastOf(q).Compare(p.First.Addr()) >= 0 {
			in = append(in, q)
		}
	}
	slices.SortFunc(in, netip.Prefix.Compare)
	return slices.Compact(in)
}

// ConflictError says that an address the user asked for is not free.
type ConflictError struct {
	Wanted netip.Prefix
	With   netip.Prefix // what has it already
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s overlaps %s, which this host uses already", e.Wanted.Masked(), e.With)
}

// Hint says what the user can do.
func (e *ConflictError) Hint() string {
	return "choose another --address and --gateway, or leave both out to have a free subnet chosen"
}

// InvalidError says that a configured pool cannot serve at all.
type InvalidError struct {
	What string
	Do   string
}

func (e *InvalidError) Error() string { return e.What }

// Hint says what would do instead.
func (e *InvalidError) Hint() string { return e.Do }

const listed = 8 // a host with Docker has dozens of routes; the first few tell the story

func list(ps []netip.Prefix) string {
	var b strings.Builder
	for i, p := range ps {
		if i == listed {
			fmt.Fprintf(&b, " and %d more", len(ps)-listed)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}
