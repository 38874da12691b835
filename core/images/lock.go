package images

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// LockVersion is the version of a lock file's form.
const LockVersion = 1

// Lock is what an image was made of, so that it can be made again.
type Lock struct {
	Version  int       `json:"version"`
	Distro   string    `json:"distro"`
	Release  string    `json:"release,omitempty"`
	Arch     string    `json:"arch"`
	Snapshot string    `json:"snapshot,omitempty"`
	Epoch    int64     `json:"sourceDateEpoch,omitempty"`
	Packages []Package `json:"packages"`

	path string
}

// lockOf is the lock of an image. What is made of it is alike at any time: where
// no time stood for all others, now is the one that does.
func lockOf(m Manifest, now time.Time) Lock {
	if m.SourceDateEpoch == 0 {
		m.SourceDateEpoch = now.Unix()
	}
	return Lock{
		Version: LockVersion, Distro: m.Distro, Release: m.Release, Arch: m.Arch, Snapshot: m.Spec.Snapshot,
		Epoch: m.SourceDateEpoch, Packages: m.Packages,
	}
}

// readLock reads a lock file. Its error is a spec.Invalid.
func readLock(path string) (Lock, error) {
	bad := func(problem string) (Lock, error) {
		return Lock{}, spec.Invalid{{Field: "image.lock", Value: path, Problem: problem, Hint: "name the NAME" + suffixLock + " beside an image that was made before"}}
	}
	f, err := os.Open(path)
	if err != nil {
		return bad("cannot be read")
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return bad("is no file")
	}
	data, err := io.ReadAll(io.LimitReader(f, manifestLimit))
	if err != nil {
		return bad("cannot be read")
	}
	l := Lock{path: path}
	if err := json.Unmarshal(data, &l); err != nil {
		return bad("is no lock file: " + err.Error())
	}
	switch {
	case l.Version != LockVersion:
		return bad(fmt.Sprintf("has version %d; this program knows %d", l.Version, LockVersion))
	case len(l.Packages) == 0:
		return bad("locks no package")
	}
	for _, p := range l.Packages {
		if p.Name == "" || p.Version == "" {
			return bad("has a package without name or version")
		}
	}
	return l, nil
}

// apply makes a spec say what the lock does; what contradicts it is refused.
func (l Lock) apply(s *spec.Spec) error {
	var bad spec.Invalid
	for _, f := range []struct {
		name, locked string
		asked        *string
	}{{"distro", l.Distro, &s.Distro}, {"release", l.Release, &s.Release}, {"arch", l.Arch, &s.Arch}, {"snapshot", l.Snapshot, &s.Snapshot}} {
		if *f.asked != "" && f.locked != "" && *f.asked != f.locked {
			bad = append(bad, &spec.FieldError{Field: f.name, Value: *f.asked, Problem: "is not what the lock file says: " + f.locked, Hint: "leave it out, or leave --locked out and have a new lock file written"})
		}
		if *f.asked == "" {
			*f.asked = f.locked
		}
	}
	if bad != nil {
		return bad
	}
	return nil
}

// LockedDistro is the distribution that a lock file is about.
func LockedDistro(path string) (string, error) {
	l, err := readLock(path)
	return l.Distro, err
}
