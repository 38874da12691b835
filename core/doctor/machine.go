package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// patient is one machine that is looked at.
type patient struct {
	*exam
	m      store.Machine
	status driver.Status
	// hostLink is this host's end of the machine's link as it is called now;
	// empty when there is none.
	hostLink string
}

// machine looks at one machine.
func (e *exam) machine(ctx context.Context, m store.Machine) []Finding {
	p := &patient{exam: e, m: m}
	found := p.examine(ctx)
	// What has a cause that was found already is not said twice.
	said := map[string]bool{}
	found = slices.DeleteFunc(found, func(f Finding) bool {
		again := f.Severity == Error && said[f.ID]
		said[f.ID] = said[f.ID] || f.Severity == Error && !several[f.ID]
		return again
	})
	for i := range found {
		found[i].Machine = m.Name
		if found[i].Fixable {
			found[i].Fix = "nspawn-build doctor --fix " + m.Name
		}
	}
	return found
}

// several are findings of which there may be more than one.
var several = map[string]bool{"machine.files": true, "machine.address-taken": true, "machine.limits": true}

func (p *patient) examine(ctx context.Context) []Finding {
	const id = "machine.record"
	lock, err := p.House.Store.Lock(p.m.Name)
	switch {
	case errors.Is(err, store.ErrLocked):
		return one(note(id, "another nspawn-build is at work on it: it was not looked at", "", ""))
	case err != nil:
		return one(untold(id, err))
	}
	if err := lock.Release(); err != nil {
		return one(untold(id, err))
	}
	if !p.m.Complete {
		return one(broken(Boot, id, "making it was interrupted", "it cannot be started",
			fmt.Sprintf("nspawn-build create --resume %s, or nspawn-build destroy %s", p.m.Name, p.m.Name)))
	}
	found := one(ok(id, "it is on record, and complete"))
	found = append(found, p.tree()...)
	found = append(found, p.files(ctx)...)
	d, err := p.House.Driver(p.m.Driver)
	if err == nil {
		p.status, err = d.Status(ctx, p.m.Name)
	}
	if err != nil {
		return append(found, broken(Boot, "machine.state", oneLine(err), "whether it runs is not known", ""))
	}
	if p.status.State != driver.Running {
		found = append(found, p.addressTaken()...)
		found = append(found, p.outranked()...)
		return append(found, p.stopped(ctx)...)
	}
	found = append(found, ok("machine.state", fmt.Sprintf("it runs since %s", p.status.Since.Format("2006-01-02 15:04:05"))))
	link := p.link()
	found = append(found, p.addressTaken()...)
	found = append(found, link...)
	found = append(found, p.limits(ctx)...)
	reachable := !slices.ContainsFunc(link, func(f Finding) bool { return f.Severity == Error })
	return append(found, p.inside(ctx, d, reachable)...)
}

// broken is an error of a machine.
func broken(area Area, id, what, why, fix string) Finding {
	return Finding{ID: id, Severity: Error, What: what, Why: why, Fix: fix, area: area}
}

// inits are where systemd-nspawn looks for the first program to run.
var inits = []string{"usr/lib/systemd/systemd", "lib/systemd/systemd", "sbin/init"}

// tree makes sure that the tree is ours and that something in it can boot.
func (p *patient) tree() []Finding {
	const id = "machine.tree"
	path := p.m.Tree.Path
	const lost = "what was in it is lost"
	tree, err := rootfs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		again := p.anew(false)
		return one(broken(Boot, id, "its tree "+path+" is gone", again.after(lost), again.command))
	}
	if err != nil {
		return one(broken(Boot, id, oneLine(err), "there is nothing to boot", ""))
	}
	defer tree.Close() //nolint:errcheck // only read from
	switch identity, err := tree.Identity(); {
	case err != nil:
		return one(untold(id, err))
	case identity != p.m.Tree.Root:
		again := p.anew(false, "mv "+quote(path)+" "+quote(path+".other"))
		return one(broken(Boot, id, "what is at "+path+" is not the tree that was made",
			again.after("nothing of it is touched, and the machine can be neither changed nor destroyed"), again.command))
	}
	found := one(ok(id, path+" is the tree that was made"))
	if !slices.ContainsFunc(inits, func(name string) bool {
		info, err := tree.Stat(name)
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	}) {
		again := p.anew(true)
		return append(found, broken(Boot, "machine.init", "its tree has no init: neither /"+strings.Join(inits, " nor /"),
			again.after("systemd-nspawn has nothing to boot. To keep files of it, copy them from "+path+" first"), again.command))
	}
	found = append(found, ok("machine.init", "its tree has an init"))
	return append(found, p.keys(tree)...)
}

// keys finds what has sshd pass over the keys that are let in.
func (p *patient) keys(tree *rootfs.Tree) []Finding {
	const id = "machine.keys"
	var open []string
	for _, name := range []string{"root", "root/.ssh", "root/.ssh/authorized_keys"} {
		if info, err := tree.Stat(name); err == nil && info.Mode()&0o022 != 0 {
			open = append(open, "/"+name)
		}
	}
	if len(open) > 0 {
		return one(broken(Reach, id, "others in it may write to "+strings.Join(open, ", "), "sshd lets in no key that others could have put there",
			fmt.Sprintf("nspawn-build exec %s chmod go-w %s", p.m.Name, strings.Join(open, " "))))
	}
	info, err := tree.Stat("root/.ssh/authorized_keys")
	if p.m.Spec.Access.Password == spec.PasswordLocked && (err != nil || info.Size() == 0) {
		return one(warning(id, "its root password is locked and no SSH key is let in", "nobody can log in", ""))
	}
	return one(ok(id, "sshd trusts the keys that are let in"))
}

// files has every stage say what is no longer as it was made.
func (p *patient) files(ctx context.Context) []Finding {
	const id = "machine.files"
	drifts, err := p.House.Drifts(ctx, p.m)
	if err != nil {
		return one(untold(id, err))
	}
	if len(drifts) == 0 {
		return one(ok(id, "every file of ours is as it was written"))
	}
	var found []Finding
	for _, d := range drifts {
		if d.Err != nil {
			found = append(found, p.hindrance(d))
			continue
		}
		for _, c := range d.Changes {
			found = append(found, p.drifted(d.Stage, c))
		}
	}
	return found
}

// hindrance is why a stage cannot tell.
func (p *patient) hindrance(d machines.Drift) Finding {
	const id = "machine.files"
	var path string
	if text, _, ok := strings.Cut(d.Err.Error(), " "+hostfile.ErrForeign.Error()); ok {
		path = text
	}
	switch {
	case !errors.Is(d.Err, hostfile.ErrForeign):
		return broken(Boot, id, d.Stage+": "+oneLine(d.Err), "what is missing is not known", "")
	case filepath.IsAbs(path) && path != p.m.Tree.Path:
		return broken(Boot, id, path+" is in the place of ours and was not made by nspawn-build", "it is never overwritten; the machine lacks the one that it needs",
			fmt.Sprintf("mv %s %s && nspawn-build doctor --fix %s", quote(path), quote(path+".other"), p.m.Name))
	}
	return broken(Boot, "machine.tree", oneLine(d.Err), "nothing of it is touched", "")
}

// drifted is a file of ours that is missing or was changed, or a limit that
// does not hold.
func (p *patient) drifted(stage string, c pipeline.Change) Finding {
	id, area, why, repair := "machine.files", Reach, "", p.restore
	path := c.Subject
	what := path + " is missing or was changed"
	switch {
	case path == "/etc/ssh/ssh_host_ed25519_key":
		id, why = "machine.host-key", "ssh refuses a machine that shows another key than the one on record; the one that is there is kept beside a new one"
		what = "the host key in its tree is not the one that was made for it"
	case stage == stages.NameLimits:
		id, area, why, repair = "machine.limits", Boot, "what the machine may use is not bounded as it was asked for", p.rebound
		if c.Detail != "" { // which limit it is, and what bounds instead
			what = c.Detail
		}
	case stage == stages.NameSettings && strings.HasPrefix(path, "/var/lib/machines/"):
		id, area, why = "machine.image-link", Boot, "machinectl and systemd-nspawn do not find the tree"
		what = path + " does not lead to its tree"
	case stage == stages.NameSettings:
		area, why = Boot, "the machine would run with other settings than it was made for"
	case stage == stages.NameNetwork:
		why = "the machine is not reached, or not under its name"
	case stage == stages.NameServices:
		why = "sshd or the network of the machine does not start, or not as it was set up"
	}
	return broken(area, id, what, why, "").fixable(repair)
}
