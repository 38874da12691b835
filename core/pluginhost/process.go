package pluginhost

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// process is the first process of a plugin's namespaces, as the host sees it.
// It implements go-plugin's runner.Runner.
type process struct {
	name   string
	order  order
	self   string
	binary *binary
	agreed handshake
	output *output

	lifeline  *os.File // the plugin lives as long as this is open
	handshook *io.PipeReader
	reading   sync.WaitGroup
	exited    chan struct{}

	mu      sync.Mutex
	running *exec.Cmd
	address string   // of the plugin's socket, once it has said it
	refused error    // what was wrong with its first line
	reports []report // of the first process, once it has exited
	killed  bool     // by us
}

// pipes are both ends of what connects the two.
type pipes struct{ orderR, orderW, outR, outW, errR, errW, reportR, reportW *os.File }

func newPipes() (p pipes, err error) {
	for _, ends := range []struct{ r, w **os.File }{
		{&p.orderR, &p.orderW}, {&p.outR, &p.outW}, {&p.errR, &p.errW}, {&p.reportR, &p.reportW},
	} {
		if *ends.r, *ends.w, err = os.Pipe(); err != nil {
			p.closeTheirs()
			p.closeOurs()
			return pipes{}, err
		}
	}
	return p, nil
}

func (p pipes) closeTheirs() { closeAll(p.orderR, p.outW, p.errW, p.reportW) }
func (p pipes) closeOurs()   { closeAll(p.orderW, p.outR, p.errR, p.reportR) }

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// start starts the process and what reads from it.
func (p *process) start() error {
	ends, err := newPipes()
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{
		Path:       p.self,
		Args:       []string{"nspawn-build", initArgument},
		Env:        shimEnvironment(),
		Dir:        "/",
		Stdout:     ends.outW,
		Stderr:     ends.errW,
		ExtraFiles: []*os.File{ends.orderR, p.binary.file, ends.reportW}, // fdOrder and so on
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Pdeathsig:  syscall.SIGKILL,
			Setsid:     true,
		},
	}
	p.exited = make(chan struct{})
	err = p.spawn(cmd, ends.reportR)
	ends.closeTheirs()
	if err != nil {
		ends.closeOurs()
		return startError(err)
	}
	p.lifeline = ends.orderW
	var handshook *io.PipeWriter
	p.handshook, handshook = io.Pipe()
	p.reading.Go(func() { defer closeAll(ends.outR); p.relay(ends.outR, handshook) })
	p.reading.Go(func() { defer closeAll(ends.errR); _ = sdk.ReadLines(ends.errR, p.output.line) })
	if err := json.NewEncoder(ends.orderW).Encode(p.order); err != nil {
		// It died at once; whoever waits for it will say how.
		p.output.line("giving it its order: " + err.Error())
	}
	return nil
}

// spawn starts the process on a thread that lives as long as it does: the
// kernel sends the parent-death signal when the thread ends that forked.
func (p *process) spawn(cmd *exec.Cmd, reports *os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return context.Canceled
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in its report
		content, _ := io.ReadAll(io.LimitReader(reports, 1<<20))
		_ = reports.Close()
		p.mu.Lock()
		p.reports = parseReports(content)
		p.mu.Unlock()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	p.running = cmd
	return nil
}

func startError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return &sdk.Failure{
			Code: sdk.CodeHostNotReady, Message: "plugins need namespaces of their own, which were refused",
			Hint: "run nspawn-build as root; in a container, give it CAP_SYS_ADMIN", Err: err,
		}
	}
	return fmt.Errorf("starting the first process: %w", err)
}

// relay passes the plugin's first line on to go-plugin if it is as it must be.
// What follows on standard output is output like any other: nothing that is
// printed there can end or block the session.
func (p *process) relay(stdout io.Reader, to *io.PipeWriter) {
	in := bufio.NewReaderSize(stdout, 8<<10)
	line, err := in.ReadSlice('\n')
	switch {
	case err == nil || errors.Is(err, bufio.ErrBufferFull):
		if p.accept(string(line)) {
			_, _ = to.Write(line)
			break
		}
		p.output.line(sdk.Clean(string(line), sdk.MaxText))
		_ = to.Close()
	default:
		if len(line) > 0 {
			p.output.line(sdk.Clean(string(line), sdk.MaxText))
		}
		// It is ending, and how it does tells more than that it said nothing.
		select {
		case <-p.exited:
		case <-time.After(time.Second):
		}
	}
	_ = sdk.ReadLines(in, p.output.line)
	_ = to.Close() // with which go-plugin's reader ends
}

// accept checks the first line and remembers what it says.
func (p *process) accept(line string) bool {
	address, fault := p.agreed.check(line)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address, p.refused = address, fault
	return fault == nil
}

// dial connects to the plugin's socket.
func (p *process) dial(ctx context.Context, _ string) (net.Conn, error) {
	p.mu.Lock()
	address := p.address
	p.mu.Unlock()
	conn, err := dial(ctx, address)
	if errors.Is(err, ErrProtocol) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refused = err // gRPC would keep no more than the words
	}
	return conn, err
}

// kill ends the namespace: the kernel kills everything in it, also what is
// stopped, before the first process is gone.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.running != nil {
		_ = p.running.Process.Kill() // unless it has ended already
	}
}

// started reports whether there is a process, or was one.
func (p *process) started() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running != nil
}

// settle waits until the process has ended, for as long as that may take at
// most, and all that it printed is read.
func (p *process) settle(limit time.Duration) error {
	select {
	case <-p.exited:
	case <-time.After(limit):
		return fmt.Errorf("the %s plugin was killed and did not end within %s", p.name, limit)
	}
	_ = p.lifeline.Close()
	p.reading.Wait()
	return nil
}

// verdict is why the process ended or is of no use: nil while it runs, and when
// it was killed for another reason that the caller knows.
func (p *process) verdict() error {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	if refused != nil {
		return refused
	}
	select {
	case <-p.exited:
	default:
		return nil
	}
	p.reading.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	how := ""
	for _, r := range p.reports {
		switch {
		case r.Error != "":
			return fmt.Errorf("the %s plugin could not be started: %s", p.name, sdk.Clean(r.Error, sdk.MaxText))
		case r.Ended != "":
			how = sdk.Clean(r.Ended, 64)
		}
	}
	if how == "" && p.killed {
		return nil
	}
	if how == "" {
		how = "killed with its namespace"
	}
	return &DiedError{Plugin: p.name, How: how, Tail: p.output.lines()}
}

// warnings are what the first process could not do as it should.
func (p *process) warnings() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var warnings []string
	for _, r := range p.reports {
		if r.Warning != "" {
			warnings = append(warnings, sdk.Clean(r.Warning, 512))
		}
	}
	return warnings
}

// What follows is runner.Runner.

func (p *process) Start(context.Context) error { return p.start() }

func (p *process) Stdout() io.ReadCloser { return p.handshook }

// Stderr is empty: the output is read here and never by go-plugin, whose reader
// panics on some lines.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(eof{}) }

func (p *process) Name() string { return p.name }

func (p *process) Diagnose(context.Context) string { return "" }

func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return ""
	}
	return strconv.Itoa(p.running.Process.Pid)
}

func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil // relay has checked them
}

func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
