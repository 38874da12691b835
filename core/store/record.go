package store

import (
	"sync"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
)

// Record is the record of one machine in the hands of the run that holds the
// machine's lock.
type Record struct {
	store *Store
	mu    sync.Mutex
	m     Machine
}

// NewRecord returns a record that is not on disk yet.
func (s *Store) NewRecord(m Machine) *Record { return &Record{store: s, m: m} }

// Open reads the record of a machine; ErrNoMachine when there is none.
func (s *Store) Open(name string) (*Record, error) {
	m, err := s.Load(name)
	if err != nil {
		return nil, err
	}
	return s.NewRecord(m), nil
}

// Machine returns what the record says now.
func (r *Record) Machine() Machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m
}

// Update changes the record, and returns when the change is on disk.
func (r *Record) Update(change func(*Machine)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.m
	change(&m)
	if err := r.store.Save(m); err != nil {
		return err
	}
	r.m = m
	return nil
}

// UpdateIfRoom is Update for what is being taken away: that there is no room on
// the disk to write it down is no error. The change is in hand then, and on disk
// with the next Update; whoever reads the record before that finds what was
// there, and takes it away again.
func (r *Record) UpdateIfRoom(change func(*Machine)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.m
	change(&m)
	if err := r.store.Save(m); err != nil && !atomicfile.IsFull(err) {
		return err
	}
	r.m = m
	return nil
}
