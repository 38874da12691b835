package direct

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
)

// reporter tells the process that started us what becomes of the machine.
// Once the machine is up nobody listens any more.
type reporter struct {
	mu sync.Mutex
	to *os.File // nil when nobody listens
}

func openReporter() *reporter {
	fd, err := strconv.Atoi(os.Getenv(newsVariable))
	if err != nil || fd < 3 {
		return &reporter{}
	}
	return &reporter{to: os.NewFile(uintptr(fd), "news")}
}

func (r *reporter) say(n news) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to == nil {
		if n.Warning+n.Error != "" {
			fmt.Fprintln(os.Stderr, n.Warning+n.Error)
		}
		return
	}
	// Who started us may have gone; the machine stays.
	_ = json.NewEncoder(r.to).Encode(n)
	if n.Warning == "" {
		_ = r.to.Close()
		r.to = nil
	}
}

// unlessTold says n to somebody who still waits for a last word.
func (r *reporter) unlessTold(n news) {
	r.mu.Lock()
	waiting := r.to != nil
	r.mu.Unlock()
	if waiting {
		r.say(n)
	}
}

func (r *reporter) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to != nil {
		_ = r.to.Close() // nothing is left to say
		r.to = nil
	}
}
