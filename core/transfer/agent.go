package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// initArgument is the first word of the program that is the end in the machine.
const initArgument = "transfer-agent"

// order is what the end in the machine is to do.
type order struct {
	Pack   string  `json:"pack,omitempty"`   // what to pack to standard output
	Unpack string  `json:"unpack,omitempty"` // where to unpack what standard input brings
	How    Options `json:"how,omitzero"`
	// Root says that descriptor 3 is the root directory of a machine that is
	// off, which is to be the root of all names first.
	Root bool `json:"root,omitempty"`
}

const fdRoot = 3

// A line on standard error says that something was left out, or what went wrong.
const leftOut = "left out: "

// Init is to be called first thing in main. When the program was started to be
// the end in a machine, it does what it is told to and did is true: main then
// exits with status.
func Init(args []string) (status int, did bool) {
	if len(args) != 3 || args[1] != initArgument {
		return 0, false
	}
	if err := obey(args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

func obey(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("the order cannot be read: %w", err)
	}
	// The zone of times means nothing in a stream, and would be read out of the
	// machine's /etc.
	time.Local = time.UTC
	if o.Root {
		if err := unix.Fchdir(fdRoot); err != nil {
			return err
		}
		if err := unix.Chroot("."); err != nil {
			return err
		}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	unix.Umask(0o022)
	skipped := func(what string) { fmt.Fprintln(os.Stderr, leftOut+what) }
	if o.Pack != "" {
		return Pack(os.Stdout, absolute(o.Pack), skipped)
	}
	o.How.Skipped = skipped
	return Unpack(context.Background(), os.Stdin, absolute(o.Unpack), o.How)
}

// absolute keeps a slash at the end, which means a directory.
func absolute(name string) string {
	clean := filepath.Join("/", name)
	if len(name) > 1 && name[len(name)-1] == '/' && clean != "/" {
		clean += "/"
	}
	return clean
}
