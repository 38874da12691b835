package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// endAgents ends the gpg-agents that work in a directory: dnf imports keys with
// GnuPG, which leaves one behind in a session of its own, and it would hold on to
// the directory.
func endAgents(directory string) error {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return fmt.Errorf("looking for gpg-agent: %w", err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !isAgent(line, directory) {
			continue // a process that has ended is not one to end
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("ending the gpg-agent %d: %w", pid, err)
		}
	}
	return nil
}

// isAgent reports whether a command line, as in /proc, is that of a gpg-agent
// whose home is below a directory.
func isAgent(line []byte, directory string) bool {
	arguments := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	if name := filepath.Base(arguments[0]); name != "gpg-agent" && name != "keyboxd" {
		return false
	}
	for i, argument := range arguments[:len(arguments)-1] {
		if argument == "--homedir" && strings.HasPrefix(arguments[i+1], directory+"/") {
			return true
		}
	}
	return false
}
