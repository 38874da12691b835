// Package registry is how OCI registries are reached: with TLS unless they are
// on this very host or that is allowed, and with the logins that docker and
// podman keep.
package registry

import (
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// Options say how a registry is reached.
type Options struct {
	// Insecure allows plain HTTP, and certificates that nobody vouches for.
	Insecure bool
	// Patience is how long a registry may be silent. Zero means 30 seconds, and
	// five minutes while something is uploaded.
	Patience time.Duration
}

// Repository reads the name of a repository, which names no tag.
func (o Options) Repository(ref string) (name.Repository, error) {
	r, err := name.NewRepository(ref, o.how()...)
	if err != nil {
		return r, fmt.Errorf("%q is not the name of a repository: %w", ref, err)
	}
	return r, o.check(ref, r)
}

// Tag reads the name of a repository and a tag.
func (o Options) Tag(ref string) (name.Tag, error) {
	t, err := name.NewTag(ref, o.how()...)
	if err != nil {
		return t, fmt.Errorf("%q is not the name of an image: %w", ref, err)
	}
	return t, o.check(ref, t.Repository)
}

func (o Options) how() []name.Option {
	how := []name.Option{name.StrictValidation}
	if o.Insecure {
		how = append(how, name.Insecure)
	}
	return how
}

// check refuses what would be reached without TLS. The library takes private
// addresses for registries that have none.
func (o Options) check(ref string, r name.Repository) error {
	if r.Scheme() == "http" && !o.Insecure && !loopback(r.RegistryStr()) {
		return fmt.Errorf("%q would be reached without TLS, which takes --registry-insecure", ref)
	}
	return nil
}
