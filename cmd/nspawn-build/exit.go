package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/driver/still"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/images"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/journal"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/readiness"
	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/transfer"
)

// The exit statuses. Scripts rely on them.
const (
	exitDone        = 0
	exitFault       = 1
	exitUsage       = 2
	exitHost        = 3
	exitBootstrap   = 4
	exitConfigure   = 5
	exitBoot        = 6
	exitUnreachable = 7
	exitExists      = 8
	exitNoMachine   = 9
	exitInterrupted = 130
	noHint          = ""
)

var (
	errInterrupted = errors.New("interrupted")
	errCalledOff   = errors.New("called off: nothing was changed")
)

// statusError carries the exit status of a command that ran in a machine.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the command ended with status %d", int(e)) }

// verdict is what an error comes to: an exit status and advice.
type verdict struct {
	code int
	hint string
}

// judge is what an error comes to. A file system without room is named in its
// hint, whatever failed for that.
func judge(ctx context.Context, err error) verdict {
	v := judgeKind(ctx, err)
	var full *machines.FullError
	if errors.As(err, &full) && v.code != exitInterrupted {
		if v.hint = full.Hint(); v.code == exitFault {
			v.code = exitHost
		}
	}
	return v
}

// judgeKind is the one table from errors to exit statuses. The first row that
// fits counts.
func judgeKind(ctx context.Context, err error) verdict {
	var status statusError
	if errors.As(err, &status) {
		return verdict{int(status), noHint}
	}
	if errors.Is(err, errInterrupted) || errors.Is(context.Cause(ctx), errInterrupted) {
		return verdict{exitInterrupted, noHint}
	}
	if errors.Is(err, errCalledOff) {
		return verdict{exitInterrupted, noHint}
	}
	for _, row := range []func(error) (verdict, bool){
		judgeInput, judgePlugin, judgeImage, judgeMatrix, judgeState, judgeHost, judgeReadiness, judgeStage, judgeVerify, judgePluginCheck,
	} {
		if v, ok := row(err); ok {
			return v
		}
	}
	return verdict{exitFault, noHint}
}

func judgeInput(err error) (verdict, bool) {
	var usage *usageError
	var invalid spec.Invalid
	var field *spec.FieldError
	var noUser *inside.NoUserError
	var noLogin *inside.NoLoginError
	var noPlugin *pluginhost.NoPluginError
	switch {
	case errors.As(err, &usage):
		return verdict{exitUsage, usage.hint}, true
	case errors.As(err, &invalid), errors.As(err, &field):
		return verdict{exitUsage, noHint}, true
	case errors.As(err, &noUser):
		return verdict{exitUsage, "nspawn-build exec NAME getent passwd lists them"}, true
	case errors.As(err, &noLogin):
		return verdict{exitUsage, "nspawn-build exec --user " + noLogin.Name + " NAME COMMAND runs a command as that user without a shell"}, true
	case errors.As(err, &noPlugin):
		return verdict{exitUsage, didYouMean(noPlugin.Distro, noPlugin.Known, noPluginHint(err))}, true
	case errors.Is(err, pluginhost.ErrNoPlugin):
		return verdict{exitUsage, noPluginHint(err)}, true
	case errors.Is(err, stages.ErrPasswordNeeded):
		return verdict{exitUsage, "give it again with --password-stdin or --password-file"}, true
	}
	return verdict{}, false
}

// noPluginHint also says what would have a plugin used that may make it.
func noPluginHint(err error) string {
	hint := "nspawn-build plugin list shows what there is"
	var refused *pluginhost.RefusedError
	if errors.As(err, &refused) && refused.Hint != "" {
		return hint + "; " + refused.Hint
	}
	return hint
}

func judgeState(err error) (verdict, bool) {
	var exists *machines.ExistsError
	var off *notRunningError
	var stopped *machines.NotRunningError
	var runs *machines.RunsError
	switch {
	case errors.Is(err, machines.ErrStopped):
		return verdict{exitInterrupted, noHint}, true
	case errors.As(err, &exists):
		return verdict{exitExists, existsHint(exists)}, true
	case errors.As(err, &runs):
		return verdict{exitExists, runs.Hint()}, true
	case errors.Is(err, store.ErrLocked):
		return verdict{exitExists, "wait until it is done"}, true
	case errors.Is(err, transfer.ErrExists):
		return verdict{exitExists, "replace it with --force, or choose another name"}, true
	case errors.Is(err, hostfile.ErrForeign):
		return verdict{exitExists, "move it away, or choose another name or --directory"}, true
	case errors.Is(err, machines.ErrIncomplete):
		return verdict{exitExists, "continue with nspawn-build create --resume NAME, or nspawn-build destroy NAME"}, true
	case errors.As(err, &stopped):
		return verdict{exitBoot, "start it: nspawn-build start " + stopped.Name}, true
	case errors.As(err, &off):
		return verdict{exitBoot, "start it: nspawn-build start " + off.name}, true
	case errors.Is(err, journal.ErrNotKept):
		return verdict{exitBoot, "start it, or read what it printed last: nspawn-build logs --console NAME"}, true
	case errors.Is(err, store.ErrNoMachine):
		return verdict{exitNoMachine, "nspawn-build list shows the machines"}, true
	}
	return verdict{}, false
}

func existsHint(e *machines.ExistsError) string {
	if e.Half {
		return fmt.Sprintf("continue as it was with nspawn-build create --resume %s, or begin anew after nspawn-build destroy %s", e.Name, e.Name)
	}
	if !slices.ContainsFunc(e.Differences, func(d spec.Difference) bool { return d.Change() == spec.ChangeNew }) {
		return "have it changed with --apply, or choose another name"
	}
	return fmt.Sprintf("destroy it first (nspawn-build destroy %s), or choose another name", e.Name)
}

func judgeHost(err error) (verdict, bool) {
	var host *machines.HostError
	if errors.As(err, &host) {
		return verdict{exitHost, host.Hint}, true
	}
	var missing *image.MissingError
	if errors.As(err, &missing) {
		return verdict{exitHost, missing.Hint()}, true
	}
	if errors.Is(err, image.ErrNoLoop) {
		return verdict{exitHost, "it takes loop devices: run it on the host rather than in a container, or use a tar format"}, true
	}
	if errors.Is(err, still.ErrCannot) {
		return verdict{exitHost, "stop the machine, then clone it"}, true
	}
	var offline *stages.OfflineError
	if errors.As(err, &offline) {
		return verdict{exitHost, offline.Hint()}, true
	}
	var unsafe *rootcache.UnsafeError
	if errors.As(err, &unsafe) {
		return verdict{exitHost, unsafe.Hint()}, true
	}
	var refused *pluginhost.RefusedError
	if errors.As(err, &refused) {
		return verdict{exitHost, refused.Hint}, true
	}
	var ambiguous *pluginhost.AmbiguousError
	if errors.As(err, &ambiguous) {
		return verdict{exitHost, ambiguous.Hint()}, true
	}
	var version *pluginhost.VersionError
	if errors.As(err, &version) {
		return verdict{exitHost, version.Hint()}, true
	}
	for _, broken := range []error{pluginhost.ErrPluginDied, pluginhost.ErrProtocol, pluginhost.ErrUnresponsive} {
		if errors.Is(err, broken) {
			return verdict{exitBootstrap, "this is a fault of the plugin: nspawn-build plugin check tries it, --log-level debug shows what it printed"}, true
		}
	}
	var failure *sdk.Failure
	if errors.As(err, &failure) {
		if failure.Code == sdk.CodeHostNotReady {
			return verdict{exitHost, failure.Hint}, true
		}
		return verdict{exitBootstrap, failure.Hint}, true
	}
	return verdict{}, false
}

func judgeReadiness(err error) (verdict, bool) {
	var notReady *readiness.Error
	if !errors.As(err, &notReady) {
		return verdict{}, false
	}
	if notReady.Rung < readiness.Addressed {
		return verdict{exitBoot, notReady.Hint}, true
	}
	return verdict{exitUnreachable, notReady.Hint}, true
}

func judgeStage(err error) (verdict, bool) {
	var inTree *customize.Error
	if errors.As(err, &inTree) {
		return verdict{exitConfigure, inTree.Hint()}, true // whatever stage it was a hook of
	}
	var failed *pipeline.Error
	if !errors.As(err, &failed) {
		return verdict{}, false
	}
	code, hint := exitConfigure, noHint
	if errors.Is(err, rootfs.ErrMounted) {
		hint = "unmount what is mounted there, and try again"
	}
	switch failed.Stage {
	case stages.NameBootstrap:
		code = exitBootstrap
	case stages.NameBoot:
		code = exitBoot
	}
	return verdict{code, hint}, true
}

// report prints an error and returns the exit status: one line that says what,
// and one that says what to do. Findings about the input have a pair each.
func (a *app) report(ctx context.Context, err error) int {
	v := judge(ctx, err)
	var status statusError
	if errors.As(err, &status) {
		return v.code
	}
	var many *severalError
	if errors.As(err, &many) {
		for i, one := range many.errs {
			if i > 0 && errors.Is(one, errInterrupted) {
				continue // of those that were not begun once is enough
			}
			if code := a.report(ctx, one); i == 0 {
				v.code = code
			}
		}
		return v.code
	}
	var of *machineError
	if errors.As(err, &of) {
		return a.speakingOf(of.name).report(ctx, of.err)
	}
	var inFile *spec.FileError
	if errors.As(err, &inFile) {
		for _, e := range inFile.Findings {
			a.log.Error(e.Error())
			for _, line := range e.Excerpt {
				a.log.Info(line)
			}
			a.hint(e.Hint)
		}
		return v.code
	}
	var invalid spec.Invalid
	if errors.As(err, &invalid) {
		for _, e := range invalid {
			a.log.Error(e.Error())
			a.hint(e.Hint)
		}
		return v.code
	}
	if v.code == exitInterrupted && !errors.Is(err, errCalledOff) {
		a.log.Error(interruption(err))
		return v.code
	}
	a.detail(err)
	a.log.Error(oneLine(err))
	var exists *machines.ExistsError
	if errors.As(err, &exists) {
		for _, d := range exists.Differences {
			a.log.Error("differs in " + d.String())
		}
	}
	a.hint(v.hint)
	return v.code
}

// interruption says what became of what was under way.
func interruption(err error) string {
	var failed *pipeline.Error
	switch {
	case !errors.As(err, &failed):
		return "interrupted"
	case failed.Undone:
		return "interrupted in " + failed.Stage + "; what was made is removed"
	case failed.Undo != nil:
		return "interrupted in " + failed.Stage + ", and not all could be removed: " + oneLine(failed.Undo)
	}
	return "interrupted in " + failed.Stage + "; what was made is kept"
}

// detail prints what there is to read about a failure: the tool's output or
// the machine's journal.
func (a *app) detail(err error) {
	var lines []string
	var failure *sdk.Failure
	var notReady *readiness.Error
	var died *pluginhost.DiedError
	var inTree *customize.Error
	var unfit *images.VerifyError
	var unverified *unverifiedError
	switch {
	case errors.As(err, &inTree):
		lines = inTree.Tail
	case errors.As(err, &unfit):
		lines = failedLines(*unfit.Report)
	case errors.As(err, &unverified):
		lines = failedLines(unverified.report)
	case errors.As(err, &died):
		lines = died.Tail
	case errors.As(err, &failure):
		lines = failure.Tail
	case errors.As(err, &notReady):
		lines = notReady.Journal
	}
	for _, l := range lines {
		a.log.Info("| " + l)
	}
}

// hint is part of the error that it follows, at whatever level one listens.
func (a *app) hint(text string) {
	if text != "" {
		a.log.Error(hintMark + text)
	}
}

func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}
