package registry

import (
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
)

// Reference reads the name of a repository and a tag, a digest, or both, of
// which the digest counts.
func (o Options) Reference(ref string) (name.Reference, error) {
	r, err := name.ParseReference(ref, o.how()...)
	if err != nil {
		return r, fmt.Errorf("%q is not the name of an artifact: %w", ref, err)
	}
	return r, o.check(ref, r.Context())
}
