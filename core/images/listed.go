package images

import "github.com/nspawn-build/nspawn-build/core/sdk"

// Package and Facts are those of the SDK by the names that files of ours use.

// Package is one package of an image.
type Package struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Architecture  string `json:"architecture,omitempty"`
	Source        string `json:"source,omitempty"`
	SourceVersion string `json:"sourceVersion,omitempty"`
	License       string `json:"license,omitempty"`
	SHA256        string `json:"sha256,omitempty"`
}

// Facts is what must be known of a tree to make another image of it.
type Facts struct {
	OSRelease      map[string]string `json:"osRelease"`
	SSHUnits       []string          `json:"sshUnits"`
	NetworkUnits   []string          `json:"networkUnits,omitempty"`
	ResolverUnits  []string          `json:"resolverUnits,omitempty"`
	PackageManager string            `json:"packageManager,omitempty"`
	Packages       []sdk.Package     `json:"-"` // beside it
	MaskUnits      []string          `json:"maskUnits,omitempty"`
	ProbeHost      string            `json:"probeHost,omitempty"`
}

func listed(all []sdk.Package) []Package {
	out := make([]Package, len(all))
	for i, p := range all {
		out[i] = Package(p)
	}
	return out
}

func unlisted(all []Package) []sdk.Package {
	out := make([]sdk.Package, len(all))
	for i, p := range all {
		out[i] = sdk.Package(p)
	}
	return out
}
