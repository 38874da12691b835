package misbehave

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

type (
	request  = sdk.Request
	reporter = sdk.Reporter
)

// Daemon is in the command line of what the mode "daemon" leaves running.
const Daemon = "left-by-a-plugin"

// jobs are modes whose jobs go otherwise than they should.
var jobs = []Mode{
	{
		Name: "panic", Breaks: []string{"bootstrap-survives"}, Exit: exitBootstrap, Says: "died (exit status 2)",
		bootstrap: func(context.Context, request, reporter) error { panic("the plugin's own fault") },
	},
	{
		Name: "killed", Breaks: []string{"bootstrap-survives"}, Exit: exitBootstrap, Says: "died (killed by SIGKILL)",
		bootstrap: func(context.Context, request, reporter) error {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			return nil
		},
	},
	// These are killed after a quarter of an hour.
	{
		Name: "silent", Breaks: []string{"bootstrap-talks"}, Exit: exitBootstrap, Says: "no event for",
		bootstrap: func(context.Context, request, reporter) error { hang(); return nil },
	},
	{
		Name: "stop", Breaks: []string{"bootstrap-talks"}, Exit: exitBootstrap, Says: "no event for",
		bootstrap: func(context.Context, request, reporter) error { stopSelf(); hang(); return nil },
	},
	{
		Name: "deaf", Breaks: []string{"cancel-ends"},
		bootstrap: func(ctx context.Context, _ request, _ reporter) error {
			if cancelled(ctx) {
				hang()
			}
			return nil
		},
	},
	{
		Name: "liar-cancel", Breaks: []string{"cancel-says-so"},
		bootstrap: func(ctx context.Context, _ request, _ reporter) error {
			if cancelled(ctx) {
				return ctx.Err()
			}
			return nil
		},
		wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &blaming{s} },
	},
	{
		Name: "flood", Breaks: []string{"output-bounded"},
		bootstrap: func(ctx context.Context, _ request, _ reporter) error { flood(ctx); return nil },
	},
	{Name: "daemon", Breaks: []string{"bootstrap-leaves-nothing", "cancel-leaves-nothing"}, bootstrap: daemon},
	{
		Name: "intruder", Breaks: []string{"writes-where-granted"},
		bootstrap: func(context.Context, request, reporter) error {
			return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "")
		},
	},
	{
		// What was made is beneath a mount, and gone with it.
		Name: "mounts", Breaks: []string{
			"bootstrap-leaves-nothing", sdk.RuleFactsOSRelease, sdk.RuleFactsUnits, "facts-package-manager", sdk.RuleTreeInit, "tree-sshd",
		}, Exit: exitBootstrap, Says: "the tree has no os-release",
		tree: mountOver,
	},
	{Name: "no-end", Breaks: []string{sdk.RuleOneEnd}, Exit: exitBootstrap, Says: "with no finished or failed event", end: func(func(*pb.BootstrapResponse), *pb.BootstrapResponse) {}},
	{
		Name: "two-ends", Breaks: []string{sdk.RuleOneEnd}, Exit: exitBootstrap, Says: "finished after the finished event",
		end: func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) { send(end); send(end) },
	},
	{
		Name: "late", Breaks: []string{sdk.RuleOneEnd}, Exit: exitBootstrap, Says: "progress after the finished event",
		end: func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) { send(end); send(progress(1, 1)) },
	},
	{
		Name: "open-end", Breaks: []string{sdk.RuleStreamEnds}, Exit: exitBootstrap, Says: "it was still open",
		end: func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) { send(end); hang() },
	},
	{
		Name: "backwards", Breaks: []string{"events-progress"},
		end: func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) {
			send(progress(2, 2))
			send(progress(1, 2))
			send(end)
		},
	},
	{Name: "escapes", Breaks: []string{"text-clean"}, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &escapes{s} }},
	{
		Name: "unit-path", Breaks: []string{sdk.RuleFactsNames}, Exit: exitBootstrap, Says: "ssh_units are names of units",
		end: func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) {
			end.GetFinished().GetFacts().SshUnits = []string{"../../etc/shadow.service"}
			send(end)
		},
	},
}

// cancelled waits a little for the job to be cancelled.
func cancelled(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(300 * time.Millisecond):
		return false
	}
}

func progress(done, total uint64) *pb.BootstrapResponse {
	return &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Progress{Progress: &pb.Progress{Done: done, Total: total, Unit: "files"}}}
}

// blaming says of jobs that were cancelled that the mirror broke off.
type blaming struct{ pb.BootstrapServiceServer }

func (b *blaming) Bootstrap(r *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	return b.BootstrapServiceServer.Bootstrap(r, &blamingStream{stream})
}

type blamingStream struct {
	grpc.ServerStreamingServer[pb.BootstrapResponse]
}

func (s *blamingStream) Send(event *pb.BootstrapResponse) error {
	if failed := event.GetFailed(); failed.GetCode() == pb.FailureCode_FAILURE_CODE_CANCELED {
		failed.Code, failed.Message, failed.Hint = pb.FailureCode_FAILURE_CODE_MIRROR, "the mirror broke off", "try again"
	}
	return s.ServerStreamingServer.Send(event)
}

// flood prints 100 MB, unless it is told to stop.
func flood(ctx context.Context) {
	line := []byte(strings.Repeat("E: something is wrong, over and over again, \x1b[31mlook\x1b[0m at it ", 15) + "\n")
	for written := 0; written < 100<<20 && ctx.Err() == nil; written += len(line) {
		_, _ = unix.Write(2, line) // the real one, which go-plugin has replaced
	}
}

// daemon leaves something running that does not end when it is told to.
func daemon(ctx context.Context, _ request, _ reporter) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c",
		`(trap "" TERM INT HUP; setsid sh -c 'sleep 1000; : `+Daemon+`' >/dev/null 2>&1 &)`)
	return cmd.Run()
}

// mountOver hides the directory that a file system is in that was mounted over it,
// with the tree made anew there.
func mountOver(root string, _ *sdk.Facts) error {
	usr := filepath.Join(root, "usr")
	if err := os.RemoveAll(usr); err != nil {
		return err
	}
	if err := os.Mkdir(usr, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", usr, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	_, err := plant(root)
	return err
}

// escapes passes on what was written for a terminal.
type escapes struct{ pb.BootstrapServiceServer }

func (s *escapes) Bootstrap(r *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	return s.BootstrapServiceServer.Bootstrap(r, &escapedStream{stream})
}

type escapedStream struct {
	grpc.ServerStreamingServer[pb.BootstrapResponse]
}

func (s *escapedStream) Send(event *pb.BootstrapResponse) error {
	if line := event.GetLine(); line != nil {
		line.Text = "\x1b]0;owned\x07\x1b[2J" + line.GetText()
	}
	return s.ServerStreamingServer.Send(event)
}
