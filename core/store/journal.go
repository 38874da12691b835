package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
)

// Entry is one line of a journal.
type Entry struct {
	Time  time.Time `json:"time"`
	Stage string    `json:"stage"`
	Event string    `json:"event"`
}

// Journal is the journal of one machine. It implements pipeline.Journal.
type Journal struct{ path string }

func (s *Store) journal(name string) string {
	return filepath.Join(s.StateDir, "journal", name+".jsonl")
}

// Journal returns the journal of a machine, whether or not it has entries.
func (s *Store) Journal(name string) *Journal { return &Journal{s.journal(name)} }

// Record appends an entry and returns when it is on disk.
func (j *Journal) Record(stage, event string) error {
	line, err := json.Marshal(Entry{time.Now().UTC(), stage, event})
	if err != nil {
		return err
	}
	dir := filepath.Dir(j.path)
	return inDirectory([]string{filepath.Dir(dir), dir}, func() error {
		if err := appendLine(j.path, line); err != nil {
			return fmt.Errorf("journal %s: %w", j.path, err)
		}
		return atomicfile.SyncDirectory(dir)
	})
}

// appendLine appends a line, on a line of its own also when a crash cut the
// one before it off.
func appendLine(path string, line []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	last := []byte{'\n'}
	if size := info.Size(); size > 0 {
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
	}
	if last[0] != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	return atomicfile.Append(f, append(line, '\n'))
}

// Entries reads the journal. A last line that was cut off by a crash is left
// out: what it was about to say had not begun.
func (j *Journal) Entries() ([]Entry, error) {
	data, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			entries = append(entries, e)
		}
	}
	return entries, lines.Err()
}

// Begun names the stages that were begun and not undone since, in order.
func (j *Journal) Begun() ([]string, error) {
	entries, err := j.Entries()
	var begun []string
	for _, e := range entries {
		at := slices.Index(begun, e.Stage)
		switch {
		case e.Event == pipeline.Begin && at < 0:
			begun = append(begun, e.Stage)
		case e.Event == pipeline.Unmade && at >= 0:
			begun = slices.Delete(begun, at, at+1)
		}
	}
	return begun, err
}
