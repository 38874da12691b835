package nspawn

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// watcher asks systemd-nspawn to power the machine off when this process is
// killed: then the pipe between them ends.
//
// A parent-death signal would not do. The kernel sends it for each thread of
// the parent that dies after having adopted the child, so that systemd-nspawn
// gets several, and it takes the second one as the wish to end at once: the
// machine's services would be killed instead of stopped.
type watcher struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// startWatcher is called before systemd-nspawn is started, so that there is no
// time at which it could be left alone.
func startWatcher() (*watcher, error) {
	const script = `read -r pid && { read -r never; kill -TERM "$pid"; }`
	cmd := exec.Command("/bin/sh", "-c", script, "nspawn-build-watcher") //nolint:noctx // ended by its pipe
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not to be killed with us
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the watcher: %w", err), pipe.Close())
	}
	return &watcher{cmd, pipe}, nil
}

// watch says which process is to be asked.
func (w *watcher) watch(pid int) error {
	_, err := fmt.Fprintln(w.pipe, pid)
	return err
}

// end ends the watcher without its asking anybody.
func (w *watcher) end() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait() // it was killed
}
