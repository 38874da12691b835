// Package store keeps what nspawn-build knows of its machines on disk: one
// record and one journal for each, and the locks that keep two runs of the
// program from working on the same thing.
//
// Nothing secret is ever handed to it. Files are 0600 and directories 0700,
// whatever the umask.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Version is the version of a record's form on disk.
const Version = 1

// ErrNoMachine says that there is no record of a machine.
var ErrNoMachine = errors.New("no such machine")

// Store is the place of the records.
type Store struct {
	StateDir   string // /var/lib/nspawn-build
	RuntimeDir string // /run/nspawn-build
}

// Machine is the record of one machine.
type Machine struct {
	Version int       `json:"version"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Expires is when the machine is no longer wanted; zero means never.
	Expires  time.Time `json:"expires,omitzero"`
	Complete bool      `json:"complete"` // every stage has been through
	// Leaving says that the host was told to forget the machine: files that name
	// all machines name it no more.
	Leaving bool `json:"leaving,omitempty"`

	Spec spec.Spec `json:"spec"`

	// What was left open by the spec and decided when the machine was made.
	Driver    spec.Driver  `json:"driver"`
	Interface string       `json:"interface"` // the host's end of the link
	HostSide  netip.Prefix `json:"hostSide"`  // the host's address there
	Address   netip.Prefix `json:"address"`   // the machine's
	DNS       []netip.Addr `json:"dns,omitempty"`
	// HostNetwork is what configures the host's end; empty in records of
	// earlier versions, for what their driver did.
	HostNetwork    spec.HostNetwork `json:"hostNetwork,omitempty"`
	AuthorizedKeys []string         `json:"authorizedKeys,omitempty"`

	Tree    Tree       `json:"tree"`
	HostKey string     `json:"hostKey,omitempty"` // public, as in known_hosts
	Facts   *sdk.Facts `json:"facts,omitempty"`
	Clone   *Clone     `json:"clone,omitempty"` // of which machine, when it is one
	// Customized is how far the tree is customised.
	Customized Customized `json:"customized,omitzero"`

	// Waiting is what was changed while the machine ran and takes a boot to
	// have; nil when that is nothing.
	Waiting *Waiting `json:"waiting,omitempty"`
}

// Customized says what was done to a machine's tree beyond bootstrapping it.
type Customized struct {
	Taken   []spec.Taken `json:"taken,omitempty"`   // of the host
	Done    bool         `json:"done,omitempty"`    // all is copied and every script has run
	Scripts int          `json:"scripts,omitempty"` // how many have
	Hooks   []int        `json:"hooks,omitempty"`   // that have run, by their places
	Logged  bool         `json:"logged,omitempty"`  // there is a log
}

// Waiting names what waits for a machine's next boot. It is over when the
// machine runs under another leader.
type Waiting struct {
	Fields []string  `json:"fields"` // by their keys in a spec file
	Leader int       `json:"leader"`
	Since  time.Time `json:"since"` // when that leader started
}

// Clone is where the tree of a machine was copied from.
type Clone struct {
	Of string `json:"of"`
	// Made is when that machine was made: another one of its name is not it.
	Made time.Time `json:"made"`
	// Live says that it may be running meanwhile, and is then held still.
	Live bool `json:"live,omitempty"`
	// NewPassword and NewKeys say that the clone is not let in as its origin is.
	NewPassword bool `json:"newPassword,omitempty"`
	NewKeys     bool `json:"newKeys,omitempty"`
	// Way is how the tree was copied; empty until it is.
	Way rootfs.Way `json:"way,omitempty"`
}

// Tree is where a machine's root directory is, and how to know it again.
type Tree struct {
	Path    string          `json:"path"`              // under which it is, or will be, published
	Root    rootfs.Identity `json:"root,omitzero"`     // of the root directory itself
	Staging string          `json:"staging,omitempty"` // the hidden directory in which it is made; empty once published
	// StagingID is the identity of the staging directory; zero when the record
	// was written but the directory perhaps not made.
	StagingID rootfs.Identity `json:"stagingID,omitzero"`
}

func (s *Store) machines() string { return filepath.Join(s.StateDir, "machines") }

func (s *Store) record(name string) string { return filepath.Join(s.machines(), name+".json") }

// Load reads the record of a machine; ErrNoMachine when there is none.
func (s *Store) Load(name string) (Machine, error) {
	data, err := os.ReadFile(s.record(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Machine{}, fmt.Errorf("%s: %w", name, ErrNoMachine)
	}
	if err != nil {
		return Machine{}, err
	}
	var m Machine
	if err := json.Unmarshal(data, &m); err != nil {
		return Machine{}, fmt.Errorf("record of %s: %w", name, err)
	}
	if m.Version != Version {
		return Machine{}, fmt.Errorf("record of %s has version %d; this program knows %d", name, m.Version, Version)
	}
	return m, nil
}

// Save writes the record of a machine. It is whole, old or new, whenever the
// power fails.
func (s *Store) Save(m Machine) error {
	m.Version = Version
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return inDirectory([]string{s.StateDir, s.machines()}, func() error {
		return atomicfile.Write(s.record(m.Name), append(data, '\n'), 0o600)
	})
}

// List reads every record, sorted by name. Records that cannot be read are
// joined in the error, beside those that can.
func (s *Store) List() ([]Machine, error) {
	entries, err := os.ReadDir(s.machines())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Machine
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		m, err := s.Load(name)
		switch {
		case errors.Is(err, ErrNoMachine): // removed while we were reading
		case err != nil:
			errs = append(errs, err)
		default:
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Machine) int { return strings.Compare(a.Name, b.Name) })
	return all, errors.Join(errs...)
}

// Forget removes the record and the journal of a machine, and the directories
// that held them when they are empty.
func (s *Store) Forget(name string) error {
	for _, path := range []string{s.journal(name), s.record(name)} {
		if err := atomicfile.Remove(path); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Dir(s.journal(name)), s.machines(), s.StateDir} {
		if err := removeEmpty(dir); err != nil {
			return err
		}
	}
	return nil
}

// inDirectory makes directories, outermost first, that only root may enter,
// and does something in them. It tries again when another run of the program
// removes them in between because they are empty.
func inDirectory(dirs []string, do func() error) error {
	var err error
	for range 100 {
		for _, d := range dirs {
			if err = makePrivate(d); err != nil {
				break
			}
		}
		if err == nil {
			err = do()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return err
}

// makePrivate makes one directory, or does nothing when it is there.
func makePrivate(dir string) error {
	if info, err := os.Lstat(dir); err == nil && info.IsDir() && info.Mode().Perm() == 0o700 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700) //nolint:gosec // a directory needs x
}

// removeEmpty removes a directory unless something is in it.
func removeEmpty(dir string) error {
	err := os.Remove(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || isNotEmpty(err) {
		return nil
	}
	return err
}

// Expired reports whether the machine was no longer wanted at that moment.
func (m Machine) Expired(at time.Time) bool { return !m.Expires.IsZero() && !at.Before(m.Expires) }

// Builtin tells whether this program itself configures the host's end of the
// machine's link.
func (m Machine) Builtin() bool {
	if m.HostNetwork == spec.HostNetworkAuto {
		return m.Driver == spec.DriverDirect
	}
	return m.HostNetwork == spec.HostNetworkBuiltin
}

// Password is the kind of password that was asked for.
func (m Machine) Password() spec.PasswordKind { return m.Spec.Access.Password }
