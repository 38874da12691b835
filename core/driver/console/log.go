package console

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Log is a file that never grows beyond a bound: when it is half of that, it
// becomes PATH.1 in place of the one before, and a new one is begun.
type Log struct {
	path string
	half int64
	file *os.File
	size int64
}

// Create begins a new log of at most limit bytes, readable by root only.
func Create(path string, limit int64) (*Log, error) {
	if err := os.Remove(path + ".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("console log: %w", err)
	}
	l := &Log{path: path, half: limit / 2}
	return l, l.begin()
}

func (l *Log) begin() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("console log: %w", err)
	}
	l.file, l.size = f, 0
	return nil
}

// Write appends p. It is not for use from several goroutines at once.
func (l *Log) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if l.size >= l.half {
			if err := l.rotate(); err != nil {
				return written, err
			}
		}
		n, err := l.file.Write(p[:min(int64(len(p)), l.half-l.size)])
		l.size += int64(n)
		written += n
		if err != nil {
			return written, fmt.Errorf("console log: %w", err)
		}
		p = p[n:]
	}
	return written, nil
}

func (l *Log) rotate() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("console log: %w", err)
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("console log: %w", err)
	}
	return l.begin()
}

// Close closes the log; the file stays.
func (l *Log) Close() error { return l.file.Close() }

// Tail returns the last n lines of the log at path, reading no more than its
// last 256 KiB. A log that is not there is empty.
func Tail(path string, n int) ([]string, error) {
	var text []byte
	for _, p := range []string{path + ".1", path} {
		part, err := end(p, 128<<10)
		if err != nil {
			return nil, fmt.Errorf("console log: %w", err)
		}
		text = append(text, part...)
	}
	return Last(Lines(string(text)), n), nil
}

func end(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, fi.Size()-limit), limit))
	return text, errors.Join(err, f.Close())
}
