package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver"
)

// limits says which limits this host cannot keep, and about which a file of
// somebody else has the last word. Those that would hold if they were applied
// again are found with the files that are ours.
func (p *patient) limits(ctx context.Context) []Finding {
	const id = "machine.limits"
	b, err := p.House.Bounds(ctx, p.m)
	var found []Finding
	for _, reason := range b.Unenforced {
		found = append(found, warning(id, "not enforced on this host: "+reason, "the machine may use more than it was meant to", ""))
	}
	if err != nil {
		return append(found, untold(id, err))
	}
	found = append(found, p.overruled(b.Outranked)...)
	if len(b.NotHeld()) == 0 {
		found = append(found, ok(id, "its limits are those that were asked for"))
	}
	return found
}

// overruled names each file that has the last word about limits, and gives the
// command that takes that word from it, and no other.
func (p *patient) overruled(all []driver.Outranked) []Finding {
	const id = "machine.limits"
	var files []string
	of := map[string][]driver.Outranked{}
	for _, o := range all {
		if of[o.File] == nil {
			files = append(files, o.File)
		}
		of[o.File] = append(of[o.File], o)
	}
	var found []Finding
	for _, file := range files {
		var what, directives []string
		f := warning(id, "", "it was not asked for here; remove it if it is not wanted", "")
		for _, o := range of[file] {
			what = append(what, o.String())
			directives = append(directives, o.Directives...)
			if o.Wanted {
				f = broken(Boot, id, "", "that file comes after ours: the machine is not bounded as it was asked for", "")
			}
		}
		f.What = strings.Join(what, ", ")
		f.Fix = silence(file, directives) + " && systemctl daemon-reload && nspawn-build doctor --fix " + p.m.Name
		found = append(found, f)
	}
	return found
}

// silence is the command that puts directives of a unit's file out of force.
// A file of `systemctl set-property` holds one and nothing else; in another the
// lines stay, as comments, with all that is beside them.
func silence(file string, directives []string) string {
	if strings.Contains(file, "/system.control/") {
		return "rm " + quote(file)
	}
	return "sed -i -E " + quote(fmt.Sprintf("s/^[[:space:]]*(%s)[[:space:]]*=/#&/", strings.Join(directives, "|"))) + " " + quote(file)
}

// rebound has the limits applied again, and takes none for mended that does not
// hold then.
func (p *patient) rebound(ctx context.Context) error {
	if err := p.restore(ctx); err != nil {
		return err
	}
	b, err := p.House.Bounds(ctx, p.m)
	if err == nil && len(b.Pending) > 0 {
		err = errors.New("after it was done again: " + strings.Join(b.Pending, ", "))
	}
	return err
}
