package machines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// ready checks what a machine of any distribution needs of the host, and
// chooses the driver.
func (h *House) ready(ctx context.Context, s *spec.Spec) (spec.Driver, error) {
	if h.Host.Nspawn == "" {
		pkg := map[string]string{sdk.FamilyDebian: "systemd-container", sdk.FamilyFedora: "systemd-container", sdk.FamilyArch: "systemd"}[h.Host.Family]
		return "", &HostError{"systemd-nspawn is not installed", h.installHint(pkg)}
	}
	kind := h.choose(s.Driver)
	if err := h.hardeningKnown(*s); err != nil {
		return "", err
	}
	if kind == spec.DriverSystemd {
		if err := h.systemdReady(ctx, s.Network); err != nil {
			return "", err
		}
	} else if s.Network.Host == spec.HostNetworkNetworkd {
		return "", spec.Invalid{{
			Field: "network.host", Value: string(s.Network.Host), Problem: "goes with the systemd driver alone",
			Hint: "leave --host-network out: the direct driver configures the link itself",
		}}
	} else if s.Network.DNS.Mode == spec.DNSHost && !s.Network.Private {
		return "", &HostError{
			"--dns host needs a host whose PID 1 is systemd, with systemd-resolved",
			"use --dns auto or name the servers",
		}
	}
	if s.Enable && kind != spec.DriverSystemd {
		return "", cannotEnable(s.Name)
	}
	if s.Directory == "" { // resuming: the record knows
		return kind, nil
	}
	return kind, checkDirectory(s.Directory)
}

func (h *House) installHint(pkg string) string {
	if c := sdk.InstallCommand(h.Host.Family, pkg); c != "" && pkg != "" {
		return "install it: " + c
	}
	return "install it with the package manager of this host"
}

func (h *House) systemdReady(ctx context.Context, n spec.Network) (err error) {
	if !h.Host.Systemd {
		return &HostError{"the systemd driver needs systemd as PID 1", "use --driver direct, or leave --driver out"}
	}
	bus, err := host.Connect(ctx)
	if err != nil {
		return &HostError{err.Error(), "start the system bus: systemctl start dbus"}
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	need := map[string]string{} // and what does without
	if n.Host == spec.HostNetworkNetworkd && !n.Private {
		need[networkdUnit] = "--host-network builtin"
	}
	if n.DNS.Mode == spec.DNSHost && !n.Private {
		need["systemd-resolved.service"] = "--dns auto"
	}
	for unit, without := range need {
		active, err := bus.UnitActive(ctx, unit)
		if err != nil {
			return err
		}
		if !active {
			return &HostError{unit + " does not run on this host", "start it: systemctl enable --now " + unit + ", or use " + without}
		}
	}
	return nil
}

// toolsReady checks that the host has the tools that a plugin needs for a
// distro.
func (h *House) toolsReady(d sdk.Description, distro string) error {
	missing, packages := h.lacking(d, distro)
	if len(missing) == 0 {
		return nil
	}
	return &HostError{
		"this host lacks " + strings.Join(missing, ", "),
		h.installHint(strings.Join(packages, " ")),
	}
}

// lacking are the tools that a plugin needs for a distro and that are not
// here, and the packages that bring them.
func (h *House) lacking(d sdk.Description, distro string) (missing, packages []string) {
	for _, need := range d.Tools {
		if len(need.Distros) > 0 && !slices.Contains(need.Distros, distro) || len(need.AnyOf) == 0 {
			continue
		}
		if sdk.FindTool(need.AnyOf...) != "" { // where the plugin will look
			continue
		}
		missing = append(missing, fmt.Sprintf("%s (to %s)", strings.Join(need.AnyOf, " or "), need.Purpose))
		if p := need.Packages[h.Host.Family]; p != "" {
			packages = append(packages, p)
		}
	}
	slices.Sort(packages)
	return missing, slices.Compact(packages)
}

// optionsKnown checks options against those that a plugin declares.
func optionsKnown(d sdk.Description, options map[string]string) error {
	var bad spec.Invalid
	for _, key := range slices.Sorted(maps.Keys(options)) {
		i := slices.IndexFunc(d.Options, func(o sdk.Option) bool { return o.Name == key })
		if i < 0 {
			bad = append(bad, &spec.FieldError{
				Field: "option", Value: key + "=" + options[key], Problem: "is not known to the plugin " + d.Name,
				Hint: "nspawn-build plugin list shows its options",
			})
			continue
		}
		if choices := d.Options[i].Choices; len(choices) > 0 && !slices.Contains(choices, options[key]) {
			bad = append(bad, &spec.FieldError{
				Field: "option", Value: key + "=" + options[key], Problem: "is not one of the choices",
				Hint: "use " + key + "=" + strings.Join(choices, " or "+key+"="),
			})
		}
	}
	if bad == nil {
		return nil
	}
	return bad
}

// meant adds the release that was most likely meant to what a plugin says of one
// that it refuses.
func meant(found []sdk.Diagnostic, by sdk.Description, req sdk.Request) []sdk.Diagnostic {
	i := slices.IndexFunc(by.Distros, func(d sdk.Distro) bool { return d.Name == req.Distro })
	if i < 0 {
		return found
	}
	like := spec.Nearest(req.Release, by.Distros[i].Releases)
	for j, d := range found {
		if d.Field == "release" && d.Severity == sdk.SeverityError && like != "" {
			found[j].Hint = "did you mean " + like + "? " + d.Hint
		}
	}
	return found
}

// invalid turns a plugin's findings into those of a spec, or nil when none is
// an error. What the host alone lacks is no fault of the spec.
func invalid(found []sdk.Diagnostic) error {
	var bad spec.Invalid
	var lacking sdk.Findings
	for _, d := range found {
		switch {
		case d.Severity != sdk.SeverityError:
		case d.Code == sdk.CodeHostNotReady:
			lacking.Missing(d.Field, d.Message, d.Hint)
		default:
			// A plugin's message names the value itself.
			bad = append(bad, &spec.FieldError{Field: d.Field, Problem: d.Message, Hint: d.Hint})
		}
	}
	if bad == nil {
		return lacking.Err()
	}
	for _, d := range lacking.Diagnostics() {
		bad = append(bad, &spec.FieldError{Field: d.Field, Problem: d.Message, Hint: d.Hint})
	}
	return bad
}
