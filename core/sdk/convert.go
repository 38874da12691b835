package sdk

import (
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// each converts the elements of a list.
func each[A, B any](list []A, convert func(A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, 0, len(list))
	for _, a := range list {
		out = append(out, convert(a))
	}
	return out
}

func requestToProto(r Request) *pb.Request {
	return &pb.Request{
		JobId:          r.JobID,
		Distro:         r.Distro,
		Release:        r.Release,
		Architecture:   r.Architecture,
		Mirrors:        r.Mirrors,
		Keyring:        r.Keyring,
		Packages:       r.Packages,
		Options:        r.Options,
		Target:         r.Target,
		CacheDirectory: r.CacheDirectory,
		WorkDirectory:  r.WorkDirectory,

		Snapshot: r.Snapshot, SourceDateEpoch: r.SourceDateEpoch, Pinned: each(r.Pinned, packageToProto),
	}
}

func requestFromProto(r *pb.Request) Request {
	return Request{
		JobID:          r.GetJobId(),
		Distro:         r.GetDistro(),
		Release:        r.GetRelease(),
		Architecture:   r.GetArchitecture(),
		Mirrors:        r.GetMirrors(),
		Keyring:        r.GetKeyring(),
		Packages:       r.GetPackages(),
		Options:        r.GetOptions(),
		Target:         r.GetTarget(),
		CacheDirectory: r.GetCacheDirectory(),
		WorkDirectory:  r.GetWorkDirectory(),

		Snapshot: r.GetSnapshot(), SourceDateEpoch: r.GetSourceDateEpoch(), Pinned: each(r.GetPinned(), packageFromProto),
	}
}

func descriptionToProto(d Description) *pb.DescribeResponse {
	return &pb.DescribeResponse{
		Name:     d.Name,
		Version:  d.Version,
		Protocol: d.Protocol,
		Distros: each(d.Distros, func(d Distro) *pb.Distro {
			return &pb.Distro{
				Name: d.Name, Title: d.Title, Releases: d.Releases,
				DefaultRelease: d.DefaultRelease, Architectures: d.Architectures,
			}
		}),
		Tools: each(d.Tools, func(t ToolNeed) *pb.ToolNeed {
			return &pb.ToolNeed{AnyOf: t.AnyOf, Purpose: t.Purpose, Packages: t.Packages, Distros: t.Distros}
		}),
		Options: each(d.Options, func(o Option) *pb.Option {
			return &pb.Option{Name: o.Name, Help: o.Help, Choices: o.Choices, DefaultValue: o.Default}
		}),
		Features: d.Features,
	}
}

func descriptionFromProto(d *pb.DescribeResponse) Description {
	return Description{
		Name:     d.GetName(),
		Version:  d.GetVersion(),
		Protocol: d.GetProtocol(),
		Distros: each(d.GetDistros(), func(d *pb.Distro) Distro {
			return Distro{
				Name: d.GetName(), Title: d.GetTitle(), Releases: d.GetReleases(),
				DefaultRelease: d.GetDefaultRelease(), Architectures: d.GetArchitectures(),
			}
		}),
		Tools: each(d.GetTools(), func(t *pb.ToolNeed) ToolNeed {
			return ToolNeed{
				AnyOf: t.GetAnyOf(), Purpose: t.GetPurpose(),
				Packages: t.GetPackages(), Distros: t.GetDistros(),
			}
		}),
		Options: each(d.GetOptions(), func(o *pb.Option) Option {
			return Option{Name: o.GetName(), Help: o.GetHelp(), Choices: o.GetChoices(), Default: o.GetDefaultValue()}
		}),
		Features: d.GetFeatures(),
	}
}

func validationToProto(v Validation) *pb.ValidateResponse {
	return &pb.ValidateResponse{
		Diagnostics: each(v.Diagnostics, func(d Diagnostic) *pb.Diagnostic {
			return &pb.Diagnostic{
				Severity: pb.Severity(d.Severity), Code: pb.FailureCode(d.Code), //nolint:gosec // small constants
				// They quote what the user gave, whatever that is.
				Field: Clean(d.Field, MaxText), Message: Clean(d.Message, MaxText), Hint: Clean(d.Hint, MaxText),
			}
		}),
		Resolved: requestToProto(v.Resolved),
	}
}

func validationFromProto(v *pb.ValidateResponse) Validation {
	return Validation{
		Diagnostics: each(v.GetDiagnostics(), func(d *pb.Diagnostic) Diagnostic {
			severity := SeverityError // also for what a newer plugin may call worse
			if d.GetSeverity() == pb.Severity_SEVERITY_WARNING {
				severity = SeverityWarning
			}
			return Diagnostic{Severity: severity, Field: d.GetField(), Message: d.GetMessage(), Hint: d.GetHint(), Code: Code(d.GetCode())}
		}),
		Resolved: requestFromProto(v.GetResolved()),
	}
}

func planToProto(p Plan) *pb.PlanResponse {
	return &pb.PlanResponse{
		Commands:       each(p.Commands, func(argv []string) *pb.Command { return &pb.Command{Argv: argv} }),
		Packages:       p.Packages,
		EstimatedBytes: p.EstimatedBytes,
	}
}

func planFromProto(p *pb.PlanResponse) Plan {
	return Plan{
		Commands:       each(p.GetCommands(), func(c *pb.Command) []string { return c.GetArgv() }),
		Packages:       p.GetPackages(),
		EstimatedBytes: p.GetEstimatedBytes(),
	}
}

func stateToProto(s State) *pb.StateResponse {
	return &pb.StateResponse{Engine: s.Engine, Repository: s.Repository}
}

func stateFromProto(s *pb.StateResponse) State {
	return State{Engine: s.GetEngine(), Repository: s.GetRepository()}
}

func packageToProto(p Package) *pb.Package {
	return &pb.Package{
		Name: p.Name, Version: p.Version, Architecture: p.Architecture,
		Source: p.Source, SourceVersion: p.SourceVersion, License: p.License, Sha256: p.SHA256,
	}
}

func packageFromProto(p *pb.Package) Package {
	return Package{
		Name: p.GetName(), Version: p.GetVersion(), Architecture: p.GetArchitecture(),
		Source: p.GetSource(), SourceVersion: p.GetSourceVersion(), License: p.GetLicense(), SHA256: p.GetSha256(),
	}
}

func factsToProto(f Facts) *pb.Facts {
	return &pb.Facts{
		OsRelease:      f.OSRelease,
		SshUnits:       f.SSHUnits,
		NetworkUnits:   f.NetworkUnits,
		ResolverUnits:  f.ResolverUnits,
		PackageManager: f.PackageManager,
		Packages:       each(f.Packages, packageToProto),
		MaskUnits:      f.MaskUnits,
		ProbeHost:      f.ProbeHost,
	}
}

func factsFromProto(f *pb.Facts) Facts {
	return Facts{
		OSRelease:      f.GetOsRelease(),
		SSHUnits:       f.GetSshUnits(),
		NetworkUnits:   f.GetNetworkUnits(),
		ResolverUnits:  f.GetResolverUnits(),
		PackageManager: f.GetPackageManager(),
		Packages:       each(f.GetPackages(), packageFromProto),
		MaskUnits:      f.GetMaskUnits(),
		ProbeHost:      f.GetProbeHost(),
	}
}
