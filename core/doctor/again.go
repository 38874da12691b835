package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// again is the command that destroys a machine and makes it anew as it was
// asked for. A password is kept nowhere: FILE stands for where the user has it.
func again(s spec.Spec) string {
	line := "nspawn-build create"
	for _, a := range createFlags(s) {
		line += " " + quote(a)
	}
	if keys := s.Access.SSHKeys; len(keys) > 0 {
		input := `printf '%s\n'`
		for _, k := range keys {
			input += " " + quote(k)
		}
		line = input + " | " + line + " --ssh-key /dev/stdin"
	}
	return "nspawn-build destroy " + s.Name + " && " + line + " " + s.Name
}

// createFlags are the flags of create that a spec comes from.
func createFlags(s spec.Spec) []string {
	var f []string
	text := func(flag, value string) {
		if value != "" {
			f = append(f, "--"+flag, value)
		}
	}
	several := func(flag string, values []string) {
		for _, v := range values {
			text(flag, v)
		}
	}
	pairs := func(flag string, m map[string]string) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			text(flag, k+"="+m[k])
		}
	}
	on := func(flag string, is bool) {
		if is {
			f = append(f, "--"+flag)
		}
	}
	text("distro", s.Distro)
	text("release", s.Release)
	text("arch", s.Arch)
	several("mirror", s.Mirrors)
	text("keyring", s.Keyring)
	pairs("option", s.Options)
	several("package", s.Packages)
	text("directory", s.Directory)
	text("driver", string(s.Driver))
	networkFlags(s.Network, text, on)
	limitFlags(s.Limits, text)
	for _, b := range s.Storage.Binds {
		flag := "bind"
		if b.ReadOnly {
			flag = "bind-ro"
		}
		text(flag, colons.Replace(b.Source)+":"+colons.Replace(b.Target))
	}
	on("read-only", s.Storage.ReadOnly)
	on("ephemeral", s.Storage.Ephemeral)
	text("profile", string(s.Security.Profile))
	several("capability", s.Security.Capabilities)
	several("drop-capability", s.Security.DropCapabilities)
	on("no-new-privileges", s.Security.NoNewPrivileges)
	text("private-users", string(s.Security.PrivateUsers))
	several("system-call-filter", s.Security.SystemCallFilter)
	on("enable", s.Enable)
	if s.TTL != 0 {
		text("ttl", time.Duration(s.TTL).String())
	}
	pairs("label", s.Labels)
	switch s.Access.Password {
	case spec.PasswordLocked:
	case spec.PasswordGenerated:
		on("generate-password", true)
	case spec.PasswordGiven, spec.PasswordHash:
		text("password-file", "FILE")
	}
	return f
}

// colons keeps a colon in a path from ending it.
var colons = strings.NewReplacer(`\`, `\\`, `:`, `\:`)

func networkFlags(n spec.Network, text func(flag, value string), on func(flag string, is bool)) {
	if n.Address.IsValid() {
		text("address", n.Address.String())
	}
	if n.Gateway.IsValid() {
		text("gateway", n.Gateway.String())
	}
	if n.DNS.Mode != spec.DNSServers && n.DNS.Mode != spec.DNSAuto {
		text("dns", string(n.DNS.Mode))
	}
	for _, server := range n.DNS.Servers {
		text("dns", server.String())
	}
	on("private-network", n.Private)
	for _, p := range n.Publish {
		text("publish", p.String())
	}
	text("egress", string(n.Egress))
	text("host-network", string(n.Host))
	on("alias", n.Alias)
}

func limitFlags(l spec.Limits, text func(flag, value string)) {
	amount := func(flag string, v uint64) {
		switch v {
		case 0:
		case spec.Infinity:
			text(flag, "infinity")
		default:
			text(flag, strconv.FormatUint(v, 10))
		}
	}
	if l.CPUQuota != 0 && l.CPUQuota != spec.Infinity {
		text("cpu-quota", fmt.Sprintf("%d%%", l.CPUQuota))
	} else {
		amount("cpu-quota", l.CPUQuota)
	}
	amount("memory-max", l.MemoryMax)
	amount("memory-high", l.MemoryHigh)
	amount("io-bandwidth", l.IOBandwidth)
	amount("io-weight", l.IOWeight)
	amount("tasks-max", l.TasksMax)
}
