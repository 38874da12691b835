package sdk

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"time"
)

// Counter returns what reports progress by the lines of a tool that form
// matches. Its groups are called done and total, which are decimal numbers, and,
// where the line says what is worked on, item. It fits Command.OnLine and
// Command.Status.
func Counter(to Reporter, unit string, form *regexp.Regexp) func(line string) {
	done, total, item := form.SubexpIndex("done"), form.SubexpIndex("total"), form.SubexpIndex("item")
	return func(line string) {
		m := form.FindStringSubmatch(line)
		if m == nil || done < 0 || total < 0 {
			return
		}
		d, errDone := strconv.ParseUint(m[done], 10, 32)
		t, errTotal := strconv.ParseUint(m[total], 10, 32)
		if errDone != nil || errTotal != nil {
			return
		}
		p := Progress{Done: min(d, t), Total: t, Unit: unit}
		if item >= 0 {
			p.Item = m[item]
		}
		to.Progress(p)
	}
}

// Retry calls try again when it failed for the mirror, which may be a matter of a
// moment: with a *Failure of CodeMirror, after 1 second and after 3 more. Each
// time it says so. Tools that try again by themselves, as most do, need no Retry
// for single files.
func Retry(ctx context.Context, to Reporter, try func(context.Context) error) error {
	for _, pause := range []time.Duration{time.Second, 3 * time.Second} {
		err := try(ctx)
		var failure *Failure
		if !errors.As(err, &failure) || failure.Code != CodeMirror || ctx.Err() != nil {
			return err
		}
		to.Line(failure.Message + "; trying again")
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
	return try(ctx)
}
