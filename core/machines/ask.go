package machines

import (
	"context"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Beyond is what may be asked of a plugin beyond a spec.
type Beyond struct {
	// Epoch is asked for where the plugin heeds it; 0 means the clock.
	Epoch int64
	// Pinned are exactly the packages that are wanted, when there are any.
	Pinned []sdk.Package
	// Engine has the plugin asked what program does the work, and of what.
	Engine bool
}

// Asked is what a plugin made of a request, and the way to have it done.
type Asked struct {
	Origin  stages.Origin
	Plugin  pluginhost.Listing
	Request sdk.Request // with every default filled in
	Engine  string      // empty where the plugin does not say
	// Repository is what the plugin says that the repositories hold, if it does.
	Repository map[string]string
}

// engine asks a plugin what program does the work, and of what. One that cannot tell, now,
// does it all the same.
func engine(ctx context.Context, session sdk.Stater, req sdk.Request, more Beyond) sdk.State {
	if !more.Engine {
		return sdk.State{}
	}
	state, err := session.State(ctx, req)
	if err != nil {
		return sdk.State{}
	}
	return state
}

// add puts it into a request. What the plugin does not do is refused, before
// anything else is looked at; but an epoch is a wish.
func (b Beyond) add(req *sdk.Request, snapshot string, d sdk.Description) error {
	var bad spec.Invalid
	if snapshot != "" && !d.Has(sdk.FeatureSnapshot) {
		bad = append(bad, &spec.FieldError{
			Field: "snapshot", Value: snapshot, Problem: "is not possible with the plugin " + d.Name + ", which takes packages as they are now",
			Hint: "leave --snapshot out; nspawn-build plugin list shows what plugins can do",
		})
	}
	if len(b.Pinned) > 0 && !d.Has(sdk.FeaturePin) {
		bad = append(bad, &spec.FieldError{
			Field: "image.lock", Problem: "is not possible with the plugin " + d.Name + ", which takes the versions that there are",
			Hint: "leave --locked out; nspawn-build plugin list shows what plugins can do",
		})
	}
	if bad != nil {
		return bad
	}
	req.Snapshot, req.Pinned = snapshot, b.Pinned
	if d.Has(sdk.FeatureReproducible) {
		req.SourceDateEpoch = b.Epoch
	}
	return nil
}

// takenElse says so when a machine was customised with files of this host that
// are not what they were.
func takenElse(m store.Machine, w Wanted, taken []spec.Taken) error {
	if w.clone != nil || m.Clone != nil {
		return nil
	}
	if all := spec.DiffTaken(m.Customized.Taken, taken); len(all) > 0 {
		return &ExistsError{Name: m.Name, Half: !m.Complete, Differences: all}
	}
	return nil
}
