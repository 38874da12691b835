package spec

import (
	"maps"
	"slices"
)

// Derive returns the spec of a clone: that of its origin, but for what two
// machines cannot share and for what in gives anew. Of in it reads the name and
// what is given of directory, network, limits, driver, lifetime and access.
//
// Two machines share neither an address nor a published port: those of the
// origin are dropped. Labels are added to those of the origin. Without a
// password or keys in in, access stays as it is said of the origin.
func Derive(origin Spec, in Input) (Spec, error) {
	b := &build{spec: origin}
	var e *FieldError
	b.spec.Name, e = ParseName(in.Name)
	b.note(e)
	if in.Directory != "" {
		b.directory(in.Directory)
	}
	if in.Driver != "" {
		b.driver(in.Driver)
	}
	b.limits(in)
	b.profileLimits()
	b.deriveNetwork(origin.Network, in)
	b.withoutLink(Input{Address: in.Address, Gateway: in.Gateway, DNS: in.DNS, Publish: in.Publish})
	b.deriveLifetime(origin, in)
	b.deriveAccess(origin.Access, in)
	if len(b.found) > 0 {
		return Spec{}, b.found
	}
	return b.spec, nil
}

func (b *build) deriveNetwork(origin Network, in Input) {
	b.spec.Network = Network{}
	b.network(in)
	b.reach(Input{Publish: in.Publish})
	given := b.spec.Network
	b.spec.Network = origin
	b.spec.Network.Address, b.spec.Network.Gateway, b.spec.Network.Publish = given.Address, given.Gateway, given.Publish
	if len(in.DNS) > 0 {
		b.spec.Network.DNS = given.DNS
	}
}

func (b *build) deriveLifetime(origin Spec, in Input) {
	b.spec.Labels = nil
	b.lifetime(in)
	b.spec.Enable = origin.Enable || in.Enable
	all := maps.Clone(origin.Labels)
	if all == nil {
		all = b.spec.Labels
	} else {
		maps.Copy(all, b.spec.Labels)
	}
	b.spec.Labels = all
}

func (b *build) deriveAccess(origin Access, in Input) {
	b.spec.Access = Access{}
	b.access(in)
	given := b.spec.Access
	b.spec.Access = Access{Password: origin.Password, SSHKeys: slices.Clone(origin.SSHKeys), InvokerKeys: origin.InvokerKeys}
	if given.Password != PasswordLocked {
		b.spec.Access.Password = given.Password
	}
	if len(given.SSHKeys) > 0 {
		b.spec.Access.SSHKeys, b.spec.Access.InvokerKeys = given.SSHKeys, false
	}
}
