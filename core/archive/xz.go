package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// xz is the program's: what there is in Go takes several times as long and
// compresses less.

// compressXZ has blocks of a size that is told compressed by a crew that is
// told: so the host's processors and settings do not show.
func compressXZ(w io.Writer, o CompressOptions) (io.WriteCloser, error) {
	level := "-6"
	if o.Fast {
		level = "-1"
	}
	cmd, said := xz("--compress", level, fmt.Sprintf("--threads=%d", crew), "--block-size=16MiB", "--check=crc64", "--no-adjust")
	cmd.Stdout = w
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("compress with xz: %w", err)
	}
	return &xzWriter{WriteCloser: in, cmd: cmd, said: said}, nil
}

// xz is the program without the settings of whoever started us.
func xz(arguments ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("xz", append(arguments, "--stdout")...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = time.Second // for whoever feeds it to notice
	said := &bytes.Buffer{}
	cmd.Stderr = said
	return cmd, said
}

type xzWriter struct {
	io.WriteCloser
	cmd  *exec.Cmd
	said *bytes.Buffer
}

// Close ends the stream and waits until all of it has been written.
func (x *xzWriter) Close() error {
	closed := x.WriteCloser.Close()
	if err := x.cmd.Wait(); err != nil {
		return fmt.Errorf("compress with xz: %w: %s", err, strings.TrimSpace(x.said.String()))
	}
	return closed
}

func decompressXZ(r io.Reader) (io.ReadCloser, error) {
	cmd, said := xz("--decompress", "--threads=1", "--memlimit-decompress=512MiB")
	cmd.Stdin = r
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("decompress with xz: %w", err)
	}
	return &xzReader{out: out, cmd: cmd, wait: sync.OnceValue(func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("decompress with xz: %w: %s", err, strings.TrimSpace(said.String()))
		}
		return nil
	})}, nil
}

type xzReader struct {
	out  io.ReadCloser
	cmd  *exec.Cmd
	wait func() error
}

// Read is io.Reader's; its end is one only if the program says so too.
func (x *xzReader) Read(p []byte) (int, error) {
	n, err := x.out.Read(p)
	if errors.Is(err, io.EOF) {
		if failed := x.wait(); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// Close ends the program if it has not come to its end.
func (x *xzReader) Close() error {
	_ = x.out.Close() // it may be closed
	_ = x.cmd.Process.Kill()
	_ = x.wait() // that it was killed is no news
	return nil
}
