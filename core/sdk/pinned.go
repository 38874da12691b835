package sdk

import (
	"fmt"
	"strings"
)

// CheckPinned compares what is in a tree with what was to be in it: exactly
// those packages, in exactly those versions. The error is a *Failure that names
// what differs. Without pins nothing does.
func CheckPinned(pinned, installed []Package) error {
	if len(pinned) == 0 {
		return nil
	}
	type name struct{ name, architecture string }
	want := map[name]string{}
	for _, p := range pinned {
		want[name{p.Name, p.Architecture}] = p.Version
	}
	var differences []string
	for _, p := range installed {
		n := name{p.Name, p.Architecture}
		version, known := want[n]
		switch {
		case !known:
			differences = append(differences, p.Name+" "+p.Version+" is not pinned")
		case version != p.Version:
			differences = append(differences, fmt.Sprintf("%s is %s, pinned is %s", p.Name, p.Version, version))
		}
		delete(want, n)
	}
	for _, p := range pinned {
		if version, left := want[name{p.Name, p.Architecture}]; left {
			differences = append(differences, p.Name+" "+version+" is missing")
		}
	}
	if len(differences) == 0 {
		return nil
	}
	const shown = 5
	more := ""
	if n := len(differences) - shown; n > 0 {
		differences, more = differences[:shown], fmt.Sprintf(", and %d more", n)
	}
	return &Failure{
		Code:    CodeInvalidRequest,
		Message: "the packages are not those that are pinned: " + strings.Join(differences, "; ") + more,
		Hint:    "use a mirror that still has them, such as an archive with --snapshot, or make a new lock",
	}
}
