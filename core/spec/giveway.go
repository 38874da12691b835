package spec

import "strings"

// GiveWay takes out of in those defaults of a host that cannot be had beside
// what was asked for: a default is for machines that have a use for it, and no
// reason to refuse another. said tells whether somebody asked for the field that
// a flag sets, on the command line or in a file.
//
// No default gives way that would leave the machine less bounded than it says:
// then it is refused, and whoever wants that asks for it.
func (in *Input) GiveWay(said func(flag string) bool) {
	if in.PrivateNetwork {
		for flag, value := range map[string]*string{"egress": &in.Egress, "host-network": &in.HostNetwork} {
			if !said(flag) {
				*value = ""
			}
		}
		if !said("dns") {
			in.DNS = nil
		}
	}
	// A name with a dot may be that of somebody on the network.
	if (in.PrivateNetwork || strings.Contains(in.Name, ".")) && !said("alias") {
		in.Alias = false
	}
	if Profile(in.Profile) != ProfileSandbox {
		return
	}
	for flag, value := range map[string]*string{"egress": &in.Egress, "memory-max": &in.MemoryMax, "tasks-max": &in.TasksMax} {
		if (*value == "any" || *value == "infinity") && !said(flag) {
			*value = "" // and so what the profile says
		}
	}
}
