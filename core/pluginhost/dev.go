package pluginhost

import (
	"fmt"
	"os"
)

// DevPlugin is a plugin that is being worked on. No lock vouches for it; that
// somebody names it on this very command line has to do. It must be a program
// that nobody but root and its developer can change, nor what leads to it; the
// very file that was checked is run, enclosed like every plugin. It goes before
// what is installed of its name or its distros.
type DevPlugin struct {
	Name string
	Path string // absolute
	// Owner is the developer's user: who called sudo. It decides what root does
	// here anyway.
	Owner uint32
}

// devListings are the plugins that are being worked on.
func (h *Host) devListings() []Listing {
	var found []Listing
	for _, d := range h.Dev {
		l := Listing{Name: d.Name, Path: d.Path, Dev: true}
		b, err := h.verifyDev(d.Path)
		if err != nil {
			l.Err = refusal(l.Path, err)
		} else {
			l.SHA256 = b.sum
			b.close()
		}
		found = append(found, l)
	}
	return found
}

// verifyDev opens a program that is being worked on.
func (h *Host) verifyDev(path string) (*binary, error) {
	for _, d := range h.Dev {
		if d.Path != path {
			continue
		}
		f, err := owners{0, d.Owner}.openBinary(path)
		if err != nil {
			return nil, err
		}
		b, err := h.unlocked(f, path)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return b, nil
	}
	return nil, &RefusedError{Path: path, Reason: "it is not one of those that are being worked on"}
}

// unlocked makes a binary of an open file that the caller vouches for.
func (h *Host) unlocked(f *os.File, path string) (*binary, error) {
	now, err := stampOf(f)
	if err != nil {
		return nil, err
	}
	sum, err := h.sum(f, now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := rightMachine(f, path); err != nil {
		return nil, err
	}
	return &binary{file: f, sum: sum, stamp: now}, nil
}
