package nspawn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// notifySocket is where systemd-nspawn tells its service manager, in whose
// place we are, that the machine is up and which process is its leader.
type notifySocket struct {
	conn  *net.UnixConn
	path  string
	pid   atomic.Int64
	found chan struct{}
}

func listenNotify(path string) (*notifySocket, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listening for systemd-nspawn: %w", err)
	}
	s := &notifySocket{conn: conn, path: path, found: make(chan struct{})}
	go s.follow()
	return s, nil
}

func (s *notifySocket) follow() {
	buf := make([]byte, 16<<10)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return // closed
		}
		if pid := leaderIn(string(buf[:n])); pid != 0 && s.pid.CompareAndSwap(0, int64(pid)) {
			close(s.found)
		}
	}
}

// leaderIn finds the leader in a message of systemd-nspawn, 0 if it has none.
func leaderIn(message string) int {
	for line := range strings.Lines(message) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "X_NSPAWN_LEADER_PID="); ok {
			if pid, err := strconv.Atoi(value); err == nil && pid > 1 {
				return pid
			}
		}
	}
	return 0
}

func (s *notifySocket) leader() int { return int(s.pid.Load()) }

func (s *notifySocket) waitLeader(ctx context.Context) (int, error) {
	select {
	case <-s.found:
		return s.leader(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for the machine's leader: %w", context.Cause(ctx))
	}
}

func (s *notifySocket) close() error {
	err := s.conn.Close() // removes the socket
	if rerr := unix.Unlink(s.path); rerr != nil && !errors.Is(rerr, unix.ENOENT) {
		err = errors.Join(err, rerr)
	}
	return err
}
