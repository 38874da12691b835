package pluginhost

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/integration/misbehave"
)

// stub is a plugin for one distro, named after its mode, that does what
// bootstrap does.
type stub struct {
	mode      string
	describe  func()
	bootstrap func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error)
}

func (s stub) Describe(context.Context) (sdk.Description, error) {
	if s.describe != nil {
		s.describe()
	}
	distro := s.mode + "-os"
	if s.mode == "twin" {
		distro = "good-os"
	}
	return sdk.Description{
		Name: s.mode, Version: "1.0.0",
		Distros: []sdk.Distro{{Name: distro, Title: "An OS", DefaultRelease: "1"}},
	}, nil
}

func (s stub) Validate(_ context.Context, req sdk.Request) (sdk.Validation, error) {
	if s.mode == "hang-validate" {
		hang()
	}
	req.Release = "1"
	return sdk.Validation{Resolved: req}, nil
}

func (s stub) Plan(context.Context, sdk.Request) (sdk.Plan, error) {
	return sdk.Plan{}, &sdk.Failure{Code: sdk.CodeMirror, Message: "no plan", Hint: "make one", Tail: []string{"tail"}}
}

func (s stub) Bootstrap(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	if s.bootstrap == nil {
		return sdk.Facts{PackageManager: "apt-get"}, nil
	}
	return s.bootstrap(ctx, req, to)
}

// modes are the ways in which the test binary is a plugin, by its name.
var modes = map[string]func(mode string){
	"good": func(mode string) { sdk.Serve(stub{mode: mode, bootstrap: doGood}) },
	"twin": func(mode string) { sdk.Serve(stub{mode: mode}) },
	"liar": func(string) { sdk.Serve(stub{mode: "somebody-else"}) },
	"wait": func(mode string) { sdk.Serve(stub{mode: mode, bootstrap: doWait}) },
	"panic": func(mode string) {
		sdk.Serve(stub{mode: mode, bootstrap: func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
			panic("the plugin's own fault")
		}})
	},
	"hang-describe": func(mode string) {
		sdk.Serve(stub{mode: mode, describe: func() { hang() }})
	},
	"hang-validate": func(mode string) { sdk.Serve(stub{mode: mode}) },
	"stop": func(mode string) {
		sdk.Serve(stub{mode: mode, bootstrap: func(_ context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			to.Line("stopping")
			time.Sleep(20 * time.Millisecond)
			stopSelf()
			for {
				hang()
			}
		}})
	},
	"deaf": func(mode string) {
		sdk.Serve(stub{mode: mode, bootstrap: func(_ context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			to.Line("deaf")
			for {
				hang()
			}
		}})
	},
	"silent": func(mode string) {
		sdk.Serve(stub{mode: mode, bootstrap: func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
			for {
				hang()
			}
		}})
	},
	"flood": func(mode string) {
		flood()
		sdk.Serve(stub{mode: mode, bootstrap: func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
			flood()
			return sdk.Facts{}, nil
		}})
	},
	"flood-stdout": func(mode string) {
		sdk.Serve(stub{mode: mode, bootstrap: func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
			line := []byte(strings.Repeat("x", 70_000) + "\n")
			for range 100 { // to the real one, which go-plugin has replaced
				if _, err := unix.Write(1, line); err != nil {
					return sdk.Facts{}, err
				}
			}
			return sdk.Facts{}, nil
		}})
	},
	"json": func(mode string) {
		fmt.Fprintln(os.Stderr, `{"@message": 1}`)
		fmt.Fprintln(os.Stderr, `{"@level": {}, "@timestamp": []}`)
		sdk.Serve(stub{mode: mode})
	},
	"messy": func(mode string) { sdk.Serve(stub{mode: mode, bootstrap: doMess}) },
	"look":  func(mode string) { sdk.Serve(stub{mode: mode, bootstrap: doLook}) },
	"write": func(mode string) { sdk.Serve(stub{mode: mode, bootstrap: doWrite}) },
}

// shared are modes that others test with, too.
var shared = []string{
	"panic-early", "exit-early", "hang-early", "stop-early", "garbage", "long-line", "foreign-socket", "dotdot-socket",
	"link-socket", "tcp-socket", "plain", "version-two", "hang-socket", "no-end", "two-ends", "late",
	"nameless-cert", "raises-describe", "raises-validate", "raises-bootstrap", "no-service",
}

func modeNames() []string { return append(slices.Sorted(maps.Keys(modes)), shared...) }

func misbehaveAs(mode string) {
	if f := modes[mode]; f != nil {
		f(mode)
		return
	}
	misbehave.Run(mode)
}

func stopSelf() { _ = unix.Kill(os.Getpid(), unix.SIGSTOP) }

func flood() {
	line := []byte(strings.Repeat("E: something is wrong, over and over again, \x1b[31mlook\x1b[0m at it ", 15) + "\n")
	for written := 0; written < 50<<20; written += len(line) {
		_, _ = os.Stderr.Write(line)
	}
	fmt.Fprintln(os.Stderr, "the last line")
}

// doGood does a little of everything that a real plugin does.
func doGood(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	to.Phase("unpack")
	if err := sdk.CheckTarget(req.Target); err != nil {
		return sdk.Facts{}, err
	}
	for _, path := range []string{req.Target + "/etc", req.CacheDirectory + "/archives", req.WorkDirectory + "/conf"} {
		if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // of a tree
			return sdk.Facts{}, err
		}
	}
	if err := os.WriteFile(req.Target+"/etc/os-release", []byte("ID=good\n"), 0o644); err != nil { //nolint:gosec // of a tree
		return sdk.Facts{}, err
	}
	to.Progress(sdk.Progress{Done: 1, Total: 1, Unit: "packages"})
	to.Warning("it is small", "add to it")
	err := sdk.Command{Argv: []string{"echo", "done"}, OnLine: to.Line}.Run(ctx)
	if err != nil {
		return sdk.Facts{}, err
	}
	release, err := sdk.ReadOSRelease(req.Target)
	return sdk.Facts{OSRelease: release, SSHUnits: []string{"ssh.service"}}, err
}

// doWait runs a tool until it is told to stop.
func doWait(ctx context.Context, _ sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	err := sdk.Command{Argv: []string{"sh", "-c", "echo waiting; sleep 1000"}, OnLine: to.Line}.Run(ctx)
	return sdk.Facts{}, err
}

// doMess leaves daemons and mounts behind. The option "mark" is put into the
// daemons' command lines.
func doMess(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	daemon := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", //nolint:gosec // a test's own
		`for i in 1 2; do (trap "" TERM INT HUP; setsid sh -c 'sleep 1000; : `+req.Options["mark"]+`' & ) & done; wait`)
	daemon.SysProcAttr = nil
	if err := daemon.Run(); err != nil {
		return sdk.Facts{}, err
	}
	for _, dir := range []string{"proc", "dev"} {
		path := filepath.Join(req.Target, dir)
		if err := os.Mkdir(path, 0o755); err != nil { //nolint:gosec // of a tree
			return sdk.Facts{}, err
		}
		if err := unix.Mount("tmpfs", path, "tmpfs", 0, ""); err != nil {
			return sdk.Facts{}, fmt.Errorf("mounting %s: %w", path, err)
		}
	}
	to.Line("messed")
	if req.Options["then"] == "wait" {
		<-ctx.Done()
		return sdk.Facts{}, ctx.Err()
	}
	return sdk.Facts{}, nil
}

// doLook reports what a plugin can see of its host.
func doLook(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	script := `
tr '\0' '\n' < /proc/$PPID/environ | sort | sed 's/^/plugin: /'
tr '\0' '\n' < /proc/1/environ | sort | sed 's/^/first: /'
env | sort | sed 's/^/tool: /'
echo "processes: $(ls -d /proc/[0-9]* | wc -l)"
echo "stdin: $(readlink /proc/$PPID/fd/0)"
echo "host: $(hostname)"
echo "tmp: $(ls -A /tmp | sort | tr '\n' ' ')"
echo "null: $(echo x > /dev/null && echo works)"
echo "shm: $(echo x > /dev/shm/x && echo works)"
echo "core: $(ulimit -c)"
`
	if key := req.Options["read"]; key != "" {
		script += "cat " + key + " " + key + "-dir/* | sed 's/^/read: /'\necho x 2>/dev/null > " + key + " || echo read-only\n"
	}
	return sdk.Facts{}, sdk.Command{Argv: []string{"sh", "-c", script}, OnLine: to.Line}.Run(ctx)
}

// doWrite tries to write to the directories that are the options' values.
func doWrite(_ context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
	for _, name := range slices.Sorted(maps.Keys(req.Options)) {
		err := os.WriteFile(filepath.Join(req.Options[name], "written"), nil, 0o600)
		if err == nil {
			to.Line(name + ": writable")
			continue
		}
		to.Line(name + err.Error()[strings.LastIndex(err.Error(), ":"):])
	}
	device := filepath.Join(req.Target, "null")
	if err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil { //nolint:gosec // a small number
		return sdk.Facts{}, err
	}
	if err := os.WriteFile(device, []byte("x"), 0o600); err != nil {
		return sdk.Facts{}, err
	}
	return sdk.Facts{}, nil
}

// hang never returns. A select without cases would be found out by the runtime
// of a program without cgo, and end as a deadlock.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}
