package pluginhost

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// maxLogged is how many lines of one session are logged. The tail is kept
// however many there are.
const maxLogged = 10_000

// output is where all that a plugin prints ends up.
type output struct {
	log *logrus.Entry

	printed atomic.Int64 // bytes, as far as they were read

	mu     sync.Mutex
	tail   sdk.Tail
	logged int
}

// line takes one line that is clean already.
func (o *output) line(text string) {
	o.printed.Add(int64(len(text)) + 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail.Add(text)
	if o.logged > maxLogged || !o.log.Logger.IsLevelEnabled(logrus.DebugLevel) {
		return
	}
	if o.logged++; o.logged > maxLogged {
		text = "(it prints more, which is not logged)"
	}
	o.log.Debug(text)
}

func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tail.Lines()
}

// writer returns what takes the output in pieces, and a function that waits
// until it is dealt with, to be called once nothing is written any more.
func (o *output) writer() (io.Writer, func()) {
	r, w := io.Pipe()
	var reading sync.WaitGroup
	reading.Go(func() {
		_ = sdk.ReadLines(r, o.line) // ends with the pipe
	})
	return w, func() { _ = w.Close(); reading.Wait() }
}
