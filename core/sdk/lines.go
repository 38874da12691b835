package sdk

import (
	"bufio"
	"errors"
	"io"
)

// readLines hands each line of r to emit, cleaned. A carriage return ends a
// line too, since tools use it to redraw their progress. What a line has
// beyond MaxText bytes is read and dropped, so that a writer never blocks and
// memory stays bounded.
func readLines(r io.Reader, emit func(line string)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	line := make([]byte, 0, 256)
	for {
		c, err := in.ReadByte()
		if err != nil {
			if len(line) > 0 {
				emit(Clean(string(line), MaxText))
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		switch {
		case c == '\n' || c == '\r':
			if len(line) > 0 {
				emit(Clean(string(line), MaxText))
			}
			line = line[:0]
		case len(line) <= MaxText:
			line = append(line, c)
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
