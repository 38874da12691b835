package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tool is a program run in the scratch directory, where everything has the same
// name in every run: a program may write names down.
type tool struct {
	dir         string
	environment []string
	in          io.Reader
}

// noSpace is what the C library has programs say, in the locale that is theirs.
const noSpace = "No space left on device"

func (t tool) run(ctx context.Context, program string, arguments ...string) error {
	path, err := lookUp(program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	cmd := exec.CommandContext(ctx, path, arguments...)
	cmd.Dir, cmd.Stdin = t.dir, t.in
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:" + sbin, "LC_ALL=C", "TZ=UTC"}, t.environment...)
	cmd.WaitDelay = 5 * time.Second // for whoever feeds it to notice
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if strings.Contains(said.String(), noSpace) {
			err = fmt.Errorf("%w: %w", err, unix.ENOSPC)
		}
		return fmt.Errorf("%s: %w: %s", program, err, lastLines(said.String()))
	}
	return nil
}

// lastLines are those that say why, on one line.
func lastLines(text string) string {
	const shown = 3
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) > shown {
		lines = lines[len(lines)-shown:]
	}
	for i, l := range lines {
		lines[i] = fmt.Sprintf("%.200q", strings.TrimSpace(l))
	}
	return strings.Join(lines, " ")
}
