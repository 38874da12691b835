package stages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// FromPlugin is a tree that the distribution's plugin bootstraps.
type FromPlugin struct {
	Request sdk.Request // without the directories
	Cache   string      // for the plugin's downloads
	Run     func(ctx context.Context, req sdk.Request, report sdk.Reporter) (sdk.Facts, error)
	Tell    pipeline.Observer
}

// Detail is the distribution and its release.
func (p *FromPlugin) Detail() string { return p.Request.Distro + " " + p.Request.Release }

// Make has the plugin fill root, and takes out of it what must not be shared
// between machines.
func (p *FromPlugin) Make(ctx context.Context, _ *store.Record, root, work string) (sdk.Facts, error) {
	if err := rootfs.MakeRoot(root); err != nil {
		return sdk.Facts{}, err
	}
	req := p.Request
	req.Target, req.WorkDirectory, req.CacheDirectory = root, work, p.Cache
	// Downloads are public, and tools read them as users of their own.
	if err := os.MkdirAll(p.Cache, 0o755); err != nil { //nolint:gosec // see above
		return sdk.Facts{}, err
	}
	facts, err := p.Run(ctx, req, reporter{NameBootstrap, p.Tell})
	if err != nil {
		return sdk.Facts{}, err
	}
	if err := errors.Join(checkTree(root, facts), checkFacts(facts)); err != nil {
		return sdk.Facts{}, err
	}
	tree, err := rootfs.Open(root)
	if err != nil {
		return sdk.Facts{}, err
	}
	return facts, errors.Join(resetIdentity(tree), tree.Close())
}

var unitForm = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,200}\.(service|socket|target|mount|timer|path)$`)

// checkFacts refuses facts that could lead out of the tree or that leave
// nothing to log in to.
func checkFacts(f sdk.Facts) error {
	for _, units := range [][]string{f.SSHUnits, f.NetworkUnits, f.ResolverUnits, f.MaskUnits} {
		for _, u := range units {
			if !unitForm.MatchString(u) {
				return fmt.Errorf("the plugin reported %q, which is not the name of a unit", u)
			}
		}
	}
	if len(f.SSHUnits) == 0 {
		return errors.New("the plugin reported no unit for sshd")
	}
	return nil
}

// checkTree refuses a tree that is not what its plugin reported: it would fail
// later, as if that were the fault of this host.
func checkTree(root string, f sdk.Facts) error {
	var all []error
	for _, broken := range sdk.CheckTree(root, f) {
		all = append(all, broken)
	}
	return errors.Join(all...)
}

// reporter turns a plugin's reports into events of the pipeline.
type reporter struct {
	stage string
	tell  pipeline.Observer
}

func (r reporter) Phase(name string) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Progress, Text: name})
}

func (r reporter) Progress(p sdk.Progress) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Progress, Done: p.Done, Total: p.Total, Item: p.Item})
}

func (r reporter) Line(text string) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Line, Text: text})
}

func (r reporter) Warning(message, hint string) {
	r.tell(pipeline.Event{Stage: r.stage, Kind: pipeline.Warning, Text: message, Hint: hint})
}
