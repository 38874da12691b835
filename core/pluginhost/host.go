// Package pluginhost finds distro plugins, makes sure that they are the ones
// that were installed, and runs each job in a process of its own that can be
// ended whole: with every child and every mount that it made.
//
// It never runs a binary that plugins.lock does not vouch for, never looks in
// $PATH, $HOME or the working directory, and never hands a plugin the host's
// environment. A plugin may write to the directories of its Grants and to
// nothing else. It still runs as root, so that this guards against mistakes in
// a plugin and its tools, and not against a plugin that means harm: that is
// what the trust in its installer is for.
package pluginhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Host finds and runs plugins. Only RuntimeDir and Directories, or Dev, must be
// set.
type Host struct {
	// Directories are searched in order; a plugin hides those of the same name
	// in later ones. One that does not exist is passed over.
	Directories []string
	// Lock is the path of the plugins.lock of all Directories. Empty means
	// that each has its own, the file "plugins.lock" in it.
	Lock string
	// Dev are programs that are run as plugins though nothing vouches for them:
	// see DevPlugin.
	Dev []DevPlugin
	// RuntimeDir is where each session has its sockets: /run/nspawn-build.
	RuntimeDir string
	// Log receives what plugins print, at level debug.
	Log *logrus.Entry
	// Self is the program that is run again to be the first process of a
	// plugin's namespaces; its main calls Init. Empty means this program.
	Self string
	// StartTimeout is how long a plugin may take until it answers. Zero means
	// 10 seconds.
	StartTimeout time.Duration
	// CallTimeout bounds Describe, Validate and Plan. Zero means 30 seconds.
	CallTimeout time.Duration
	// StateTimeout bounds State, which may ask mirrors. Zero means 2 minutes.
	StateTimeout time.Duration
	// Silence and CancelGrace bound Bootstrap, see sdk.Client. Zero means 15
	// minutes and 10 seconds.
	Silence, CancelGrace time.Duration

	// remount makes the shim do without mount_setattr, as before Linux 5.12.
	remount bool
	// sums are the hashes of files by their stamps.
	sums sync.Map
}

// Listing is one plugin that was found.
type Listing struct {
	Name        string          `json:"name"`
	Path        string          `json:"path"`
	SHA256      string          `json:"sha256,omitempty"`
	Version     string          `json:"version,omitempty"` // as plugins.lock has it
	Description sdk.Description `json:"description"`
	// Err is why the plugin is not used; nil when it is.
	Err error `json:"-"`
	// Dev says that it is one of Host.Dev.
	Dev bool `json:"dev,omitempty"`
	// Pin is where it was installed from.
	Pin Pin `json:"pin,omitzero"`

	distros  []string // as plugins.lock has them; nil when it does not
	takes    []string
	lockLost bool // nobody can tell what it makes
}

// Grants are the directories that a plugin may write to. All are absolute; an
// empty one grants nothing.
type Grants struct {
	Target         string
	CacheDirectory string
	WorkDirectory  string
	// Readable are files and directories that stay visible, read-only, where
	// they are in /tmp or /var/tmp, which a plugin has to itself. All else
	// outside of these two is readable anyway.
	Readable []string
}

var (
	// ErrNoPlugin means that no plugin makes a distro.
	ErrNoPlugin = errors.New("no plugin makes it")
	// ErrPluginDied is what every *DiedError is.
	ErrPluginDied = errors.New("the plugin died")
	// ErrProtocol is what every *sdk.ProtocolError is.
	ErrProtocol = sdk.ErrProtocol
	// ErrUnresponsive means that a plugin did not answer in time. It has been
	// killed.
	ErrUnresponsive = sdk.ErrUnresponsive
)

// RefusedError is why a binary is not run.
type RefusedError struct {
	Path   string
	Reason string
	Hint   string
	Err    error
}

// Error names the binary or directory and the reason.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%s is not used: %s", e.Path, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// AmbiguousError means that two plugins claim the same distro.
type AmbiguousError struct {
	Distro string
	Paths  []string
}

// Error names the distro and all who claim it.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s is claimed by more than one plugin: %s", e.Distro, strings.Join(e.Paths, " and "))
}

// Hint says how to decide between them.
func (e *AmbiguousError) Hint() string { return "remove all but one of them" }

// DiedError means that a plugin's process ended before its work did.
type DiedError struct {
	Plugin string
	How    string   // "exit status 2", "killed by signal SIGSEGV"
	Tail   []string // the last lines that it printed
}

// Error says which plugin died and how.
func (e *DiedError) Error() string {
	return fmt.Sprintf("the %s plugin died (%s)", e.Plugin, e.How)
}

// Is makes every DiedError an ErrPluginDied.
func (e *DiedError) Is(target error) bool { return target == ErrPluginDied }

// DefaultDirectories are the places that plugins are installed to, and plugins/
// beside the executable, for use from a build tree.
func DefaultDirectories() []string {
	dirs := []string{"/usr/local/lib/nspawn-build/plugins", "/usr/lib/nspawn-build/plugins"}
	if beside := besideExecutable(); beside != "" {
		dirs = append([]string{beside}, dirs...)
	}
	return dirs
}

// besideExecutable is the plugins/ directory of a build tree.
func besideExecutable() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(exe), "plugins")
}

func (h *Host) log() *logrus.Entry {
	if h.Log != nil {
		return h.Log
	}
	silent := logrus.New()
	silent.SetOutput(nowhere{})
	return logrus.NewEntry(silent)
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
