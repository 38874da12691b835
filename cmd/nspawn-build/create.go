package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

const defaultTimeout = 2 * time.Minute

func (a *app) createCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "make a machine, boot it and prove that one can log in",
		ArgsUsage: "NAME",
		Description: "nspawn-build --distro debian mycontainer does the same as nspawn-build create\n" +
			"--distro debian mycontainer. Calling it again changes nothing, or brings the machine\n" +
			"back to what was asked for.\n\n" +
			"With --file the machines are described in a file; names then choose some of them.",
		Flags: append(slices.Concat(specFlags(), fileFlags(), cacheFlags()),
			&cli.BoolFlag{Name: "fail-fast", Usage: "end the other machines of a file when one fails"},
			&cli.BoolFlag{Name: "restart", Usage: "restart a machine that has changes waiting for it"},
			&cli.BoolFlag{Name: "print-schema", Usage: "print the JSON Schema of spec files, and do nothing else"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and touch nothing"},
			&cli.BoolFlag{Name: "resume", Usage: "continue a creation that was interrupted"},
			onErrorFlag(), devPluginFlag(),
			outputFlag(),
		),
		Action: a.create,
	}
}

// specFlags are the flags that say what machine is wanted.
func specFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "distro", Usage: "`NAME` of the distribution, such as debian", EnvVars: env("distro")},
		&cli.StringFlag{Name: "release", Usage: "its `RELEASE`, such as trixie (default: the current stable one)", EnvVars: env("release")},
		&cli.StringFlag{Name: "arch", Usage: "hardware `NAME`: x86_64 or aarch64 (default: this host's)"},
		&cli.StringSliceFlag{Name: "mirror", Usage: "`URL` of a package mirror, in the form the distribution's tool takes; may be repeated", EnvVars: env("mirror")},
		&cli.StringFlag{Name: "keyring", Usage: "trust the public keys of `FILE` for the bootstrap", EnvVars: env("keyring")},
		&cli.StringSliceFlag{Name: "option", Usage: "`KEY=VALUE` for the distribution's plugin; may be repeated"},
		&cli.StringSliceFlag{Name: "package", Usage: "install `NAME` too; may be repeated"},
		snapshotFlag(),
		&cli.StringFlag{Name: "directory", Usage: "keep the tree in `DIR` (default: containers in your home)", EnvVars: env("directory")},
		&cli.StringFlag{Name: "address", Usage: "the machine's `ADDRESS`, such as 192.168.210.200/24 (default: the next free subnet)"},
		&cli.StringFlag{Name: "gateway", Usage: "the host's `ADDRESS` on the link (default: the subnet's first)"},
		&cli.StringSliceFlag{Name: "dns", Usage: "`SERVER`: auto (those this host asks), host (its own resolver) or an address; may be repeated", EnvVars: env("dns")},
		&cli.StringFlag{Name: "cpu-quota", Usage: "`SHARE` of one CPU, such as 50%", EnvVars: env("cpu-quota")},
		&cli.StringFlag{Name: "memory-max", Usage: "most memory: a `SIZE` such as 512M or 8G", EnvVars: env("memory-max")},
		&cli.StringFlag{Name: "memory-high", Usage: "slow the machine down above a `SIZE` of memory", EnvVars: env("memory-high")},
		&cli.StringFlag{Name: "io-bandwidth", Usage: "most bytes a second, read and written each: a `SIZE` such as 50M", EnvVars: env("io-bandwidth")},
		&cli.StringFlag{Name: "io-weight", Usage: "`WEIGHT` of its I/O, 1 to 10000", EnvVars: env("io-weight")},
		&cli.StringFlag{Name: "tasks-max", Usage: "most processes and threads: a `NUMBER`", EnvVars: env("tasks-max")},
		&cli.StringFlag{Name: "driver", Value: "auto", Usage: "`DRIVER` that boots it: auto, systemd or direct", EnvVars: env("driver")},
		&cli.BoolFlag{Name: "no-boot", Usage: "make the machine and do not boot it"},
		&cli.DurationFlag{Name: "timeout", Value: defaultTimeout, Usage: "`TIME` that booting may take until a login works", EnvVars: env("timeout")},
	}
	return slices.Concat(
		grouped("The machine:", flags), grouped("What is done to its tree:", customizeFlags()), grouped("Who gets in:", accessFlags()), grouped("What it reaches, and what reaches it:", reachFlags()),
		grouped("Storage:", storageFlags()), grouped("Hardening:", securityFlags()), grouped("Lifetime:", lifetimeFlags()),
	)
}

// reachFlags say what the machine reaches and by whom it is reached.
func reachFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "private-network", Usage: "leave the machine without a link, and so without SSH"},
		&cli.StringSliceFlag{Name: "publish", Aliases: []string{"p"}, Usage: "make a port of the machine reachable under one of this host: `[ADDRESS:]HOST:MACHINE[/udp]`; may be repeated"},
		&cli.StringFlag{Name: "egress", Usage: "`WHAT` the machine may reach: any, internet (not this host nor private networks) or none (default: any)", EnvVars: env("egress")},
		&cli.StringFlag{Name: "host-network", Usage: "`WHAT` configures this host's end of the link: auto, networkd or builtin (default: auto)", EnvVars: env("host-network")},
		&cli.BoolFlag{Name: "alias", Usage: "let this host know the machine by its plain name: ssh NAME, ping NAME", EnvVars: env("alias")},
	}
}

// storageFlags say what of the host is seen in the machine.
func storageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "bind", Usage: "show a directory of this host in the machine: `SOURCE[:TARGET[:ro]]`; may be repeated"},
		&cli.StringSliceFlag{Name: "bind-ro", Usage: "the same, for reading only: `SOURCE[:TARGET]`; may be repeated"},
		&cli.BoolFlag{Name: "read-only", Usage: "keep the machine from writing to its own root"},
		&cli.BoolFlag{Name: "ephemeral", Usage: "throw away what was written whenever the machine stops"},
	}
}

// securityFlags say what keeps the machine away from the host.
func securityFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "profile", Usage: "a `NAME` for a set of settings: sandbox, for what is not trusted", EnvVars: env("profile")},
		&cli.StringSliceFlag{Name: "capability", Usage: "let the machine have `CAPABILITY` too; may be repeated"},
		&cli.StringSliceFlag{Name: "drop-capability", Usage: "take `CAPABILITY` from the machine; may be repeated"},
		&cli.BoolFlag{Name: "no-new-privileges", Usage: "let no program in the machine gain privileges, by setuid say"},
		&cli.StringFlag{Name: "private-users", Usage: "`HOW` the machine's users relate to this host's: pick, identity or no (default: pick)"},
		&cli.StringSliceFlag{Name: "system-call-filter", Usage: "let through system call or group `NAME`, or with ~ before it refuse it; may be repeated"},
	}
}

// lifetimeFlags say when the machine boots and how long it is wanted.
func lifetimeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "enable", Usage: "boot the machine whenever this host boots"},
		&cli.StringFlag{Name: "ttl", Usage: "have destroy --expired remove the machine after `TIME`, such as 2h or 7d", EnvVars: env("ttl")},
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` to find the machine by; may be repeated", EnvVars: env("label")},
	}
}

// wanted reads a command line into what core/machines is asked for.
func (a *app) wanted(ctx *cli.Context) (machines.Wanted, error) {
	var w machines.Wanted
	if ctx.NArg() > 1 {
		return w, a.severalNames(ctx)
	}
	name := ctx.Args().First()
	if err := a.noCommand(name); err != nil {
		return w, err
	}
	resume := ctx.Bool("resume")
	var err error
	if w.Run, err = flaggedRun(ctx); err != nil {
		return w, err
	}
	in, err := a.input(ctx, name)
	if err != nil {
		return w, err
	}
	in.GiveWay(func(flag string) bool { return a.given(ctx, flag) })
	bare := resume && in.Distro == ""
	refused := func() error { return nil }
	if !bare {
		// Whatever can be wrong is found before a password is asked for.
		s, err := spec.Build(in)
		if err != nil {
			return w, several(err, a.accessFaults(ctx))
		}
		refused = func() error { return a.refusal(ctx, s) }
	}
	// Over SSH nobody comes to a machine without a link: it needs no way to log in.
	got, err := a.readAccess(ctx, bare || in.PrivateNetwork, refused)
	if err != nil {
		return w, err
	}
	w.Secret, w.InvokerKeys = got.secret, got.invokerKeys
	if bare {
		n, e := spec.ParseName(name)
		if e != nil {
			return w, spec.Invalid{e}
		}
		w.Spec.Name = n
		return w, nil
	}
	in.Password, in.SSHKeys, in.InvokerKeys = got.kind, got.keys, len(got.invokerKeys) > 0
	w.Spec, err = spec.Build(in)
	return w, err
}

// noCommand refuses a machine's name that is a command's too.
func (a *app) noCommand(name string) error {
	if a.cli.Command(name) == nil {
		return nil
	}
	return spec.Invalid{{Field: "name", Value: name, Problem: "is a command of nspawn-build", Hint: "choose another name for the machine"}}
}

// flaggedRun reads from flags how to go about making a machine.
func flaggedRun(ctx *cli.Context) (spec.Run, error) {
	r := spec.Run{Boot: !ctx.Bool("no-boot"), Timeout: ctx.Duration("timeout"), Resume: ctx.Bool("resume")}
	if err := onError(ctx, &r); err != nil {
		return r, err
	}
	if e := spec.ParseTimeout(r.Timeout); e != nil {
		return r, spec.Invalid{e}
	}
	return r, nil
}

// onErrorFlag says what becomes of what a failing run made.
func onErrorFlag() cli.Flag {
	return &cli.StringFlag{Name: "on-error", Value: "undo", Usage: "`WHAT` to do with what was made when a stage fails: undo or keep", EnvVars: env("on-error")}
}

// onError reads what to do when a stage fails.
func onError(ctx *cli.Context, run *spec.Run) error {
	oe := ctx.String("on-error")
	if oe != "" && oe != "keep" && oe != "undo" {
		return spec.Invalid{{Field: "on-error", Value: oe, Problem: "is neither undo nor keep", Hint: "use undo or keep"}}
	}
	run.Keep = oe == "keep"
	return nil
}

func (a *app) input(ctx *cli.Context, name string) (spec.Input, error) {
	in := spec.Input{
		Name: name, Distro: ctx.String("distro"), Release: ctx.String("release"), Arch: ctx.String("arch"),
		Mirrors: ctx.StringSlice("mirror"), Keyring: ctx.String("keyring"), Options: ctx.StringSlice("option"),
		Packages: ctx.StringSlice("package"), Directory: ctx.String("directory"),
		Address: ctx.String("address"), Gateway: ctx.String("gateway"), DNS: ctx.StringSlice("dns"),
		CPUQuota: ctx.String("cpu-quota"), MemoryMax: ctx.String("memory-max"),
		MemoryHigh: ctx.String("memory-high"), IOBandwidth: ctx.String("io-bandwidth"),
		IOWeight: ctx.String("io-weight"), TasksMax: ctx.String("tasks-max"), Driver: ctx.String("driver"),
		PrivateNetwork: ctx.Bool("private-network"), Alias: ctx.Bool("alias"), Publish: ctx.StringSlice("publish"),
		Egress: ctx.String("egress"), HostNetwork: ctx.String("host-network"),
		Binds: ctx.StringSlice("bind"), BindsReadOnly: ctx.StringSlice("bind-ro"),
		ReadOnly: ctx.Bool("read-only"), Ephemeral: ctx.Bool("ephemeral"),
		Profile: ctx.String("profile"), Capabilities: ctx.StringSlice("capability"),
		DropCapabilities: ctx.StringSlice("drop-capability"), SystemCallFilter: ctx.StringSlice("system-call-filter"),
		NoNewPrivileges: ctx.Bool("no-new-privileges"), PrivateUsers: ctx.String("private-users"),
		Enable: ctx.Bool("enable"), TTL: ctx.String("ttl"), Labels: ctx.StringSlice("label"),
	}
	err := customizeInput(ctx, &in)
	if err != nil {
		return in, err
	}
	if in.Directory == "" {
		u, err := invoker()
		if err != nil {
			return in, err
		}
		in.Directory = filepath.Join(u.HomeDir, "containers")
	} else if in.Directory, err = filepath.Abs(in.Directory); err != nil {
		return in, err
	}
	if in.Keyring == "" {
		return in, nil
	}
	if in.Keyring, err = filepath.Abs(in.Keyring); err != nil {
		return in, err
	}
	if bad := readable(in.Keyring); bad != nil {
		return in, bad
	}
	return in, nil
}

// readable says what is wrong with a keyring; nil when nothing is, or none was
// given.
func readable(keyring string) spec.Invalid {
	if keyring == "" {
		return nil
	}
	if info, err := os.Stat(keyring); err != nil || !info.Mode().IsRegular() {
		return spec.Invalid{{Field: "keyring", Value: keyring, Problem: "is not a file that can be read", Hint: "name a file of public keys"}}
	}
	return nil
}

// severalNames explains a line such as `nspawn-build strat box`.
func (a *app) severalNames(ctx *cli.Context) error {
	words := ctx.Args().Slice()
	hint := didYouMean(words[0], namesOf(a.cli.Commands), "create takes one name; nspawn-build --help lists the commands")
	return &usageError{fmt.Sprintf("unexpected argument %q", strings.Join(words[1:], " ")), hint}
}

// release is the release as the tree itself names it.
func release(m store.Machine) string {
	if m.Facts != nil {
		for _, key := range []string{"VERSION_CODENAME", "VERSION_ID", "BUILD_ID"} {
			if v := harmlessLine(m.Facts.OSRelease[key]); v != "" {
				return v
			}
		}
	}
	return m.Spec.Release
}

// sshLine is the exact command that logs in.
func sshLine(publicKeys []string, m store.Machine) string {
	if m.Spec.Network.Private {
		return ""
	}
	line := "ssh"
	for _, p := range publicKeys {
		if private, ok := strings.CutSuffix(p, ".pub"); ok {
			if _, err := os.Stat(private); err == nil {
				line += " -i " + private
				break
			}
		}
	}
	return line + " root@" + m.Address.Addr().String()
}
