package spec

import "fmt"

// Clash is what one machine of a list cannot have because another one has it.
type Clash struct {
	Machine int // its place in the list
	*FieldError
}

// Clashes finds what machines that are wished for together take from each other.
func Clashes(all []Spec) []Clash {
	var found []Clash
	for i, s := range all {
		for _, other := range all[:i] {
			if e := s.clash(other); e != nil {
				found = append(found, Clash{i, e})
				break
			}
		}
	}
	return found
}

func (s Spec) clash(other Spec) *FieldError {
	for _, p := range s.Network.Publish {
		for _, o := range other.Network.Publish {
			if p.Same(o) {
				return &FieldError{
					"network.publish", p.String(), fmt.Sprintf("takes a port of this host that %s takes too: %s", other.Name, o),
					"publish each port of the host once",
				}
			}
		}
	}
	if a, o := s.Network.Address, other.Network.Address; a.IsValid() && o.IsValid() && a.Overlaps(o) {
		return &FieldError{
			"network.address", a.String(), fmt.Sprintf("overlaps the subnet of %s: %s", other.Name, o),
			"give each machine a subnet of its own, or leave the address out",
		}
	}
	return nil
}
