package unitfile

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

const (
	by     = "# Made by nspawn-build"
	forOne = by + " for machine "
)

// header is the comment that a generated file begins with. The empty machine
// stands for files that belong to no single one: those of the host that list
// all, and those in a tree, which a clone takes with it.
func header(machine string) (string, error) {
	first := by + "."
	if machine != "" {
		if err := checkMachine(machine); err != nil {
			return "", err
		}
		first = forOne + machine + "."
	}
	return first + "\n# It is written anew when something changes: put changes of your own in another file.\n", nil
}

// Made reports whether data is a file that was rendered here for machine; for
// the empty machine, one that belongs to no single machine. Files of another
// machine, and files without our first line, are not.
func Made(data []byte, machine string) bool {
	of, ok := Owner(data)
	return ok && of == machine
}

// Owner tells for which machine a file was rendered. It is empty for a file
// that belongs to no single one; ok is false for a file that is not ours.
func Owner(data []byte) (machine string, ok bool) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	first := string(line)
	if first == by+"." {
		return "", true
	}
	machine, ok = strings.CutPrefix(first, forOne)
	if !ok || !strings.HasSuffix(machine, ".") {
		return "", false
	}
	machine = strings.TrimSuffix(machine, ".")
	return machine, checkMachine(machine) == nil
}

func checkMachine(name string) error {
	if _, err := spec.ParseName(name); err != nil {
		return fmt.Errorf("render a file: %w", err)
	}
	return nil
}
