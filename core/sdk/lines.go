package sdk

import (
	"bytes"
	"errors"
	"io"
)

// ReadLines hands each line of r to emit, cleaned. A carriage return ends a
// line too, since tools use it to redraw their progress. What a line has
// beyond MaxText bytes is read and dropped, so that a writer never blocks and
// memory stays bounded.
func ReadLines(r io.Reader, emit func(line string)) error {
	chunk := make([]byte, 32<<10)
	line := make([]byte, 0, 256)
	flush := func() {
		if len(line) > 0 {
			emit(Clean(string(line), MaxText))
		}
		line = line[:0]
	}
	for {
		n, err := r.Read(chunk)
		for rest := chunk[:n]; len(rest) > 0; {
			end := bytes.IndexAny(rest, "\r\n")
			part := rest
			if end >= 0 {
				part, rest = rest[:end], rest[end+1:]
			} else {
				rest = nil
			}
			if room := MaxText + 1 - len(line); len(part) > room {
				part = part[:room]
			}
			line = append(line, part...)
			if end >= 0 {
				flush()
			}
		}
		if err != nil {
			flush()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// Tail keeps the last lines of an output. The zero value keeps 50.
// It is not safe for use by several goroutines at once.
type Tail struct {
	Max   int
	lines []string
	next  int
}

// Add appends a line and forgets the oldest when there are too many.
func (t *Tail) Add(line string) {
	limit := t.Max
	if limit == 0 {
		limit = 50
	}
	if len(t.lines) < limit {
		t.lines = append(t.lines, line)
		return
	}
	t.lines[t.next] = line
	t.next = (t.next + 1) % limit
}

// Lines returns what was kept, the oldest first.
func (t *Tail) Lines() []string {
	kept := make([]string, 0, len(t.lines))
	kept = append(kept, t.lines[t.next:]...)
	return append(kept, t.lines[:t.next]...)
}
