// Package matrix builds the images of a matrix file: it makes jobs of the file,
// runs them in an order in which each comes after the one it is built on, keeps
// their results in a directory, and writes reports of them.
//
// How a job is run is a func that is handed in, so that this package starts
// nothing and prints nothing. It writes into a results directory and nowhere
// else, and never keeps a job's spec file, which may hold a password's hash.
package matrix

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Matrix is what a matrix file asks for.
type Matrix struct {
	File File
	// Jobs are in the order of the file.
	Jobs []Job
}

// File is where jobs come from.
type File struct {
	Name   string   `json:"name"`
	Digest string   `json:"digest"` // SHA-256 of its text
	Jobs   []string `json:"jobs"`   // the names of all of them
}

// Job is one image that is to be built.
type Job struct {
	Name    string            `json:"name"`
	Distro  string            `json:"distro"`
	Release string            `json:"release,omitempty"`
	Arch    string            `json:"arch,omitempty"`
	Variant string            `json:"variant,omitempty"`
	Base    string            `json:"base,omitempty"` // the job whose image it is built on
	Labels  map[string]string `json:"labels,omitempty"`
	Formats []string          `json:"formats"`
	Verify  bool              `json:"verify"`

	// Spec is the spec file of the one image. It may hold a password's hash.
	Spec []byte `json:"-"`

	wish      *spec.Wish
	directory string // of the matrix file
}

// Read makes jobs of a matrix file, and finds everything that is wrong with it.
func Read(src spec.Source, data []byte) (*Matrix, error) {
	read, err := spec.ReadMatrix(src, data)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	m := &Matrix{File: File{Name: filepath.Base(src.Name), Digest: hex.EncodeToString(sum[:])}}
	bad := &spec.FileError{}
	for _, j := range read.Jobs {
		own, err := jobOf(j, src.Directory)
		var wrong spec.Invalid
		if errors.As(err, &wrong) {
			// What layers share is wrong in many jobs, and said once.
			for _, f := range j.Wish.Locate(wrong).Findings {
				if !slices.ContainsFunc(bad.Findings, func(g spec.Finding) bool { return g.Error() == f.Error() }) {
					bad.Findings = append(bad.Findings, f)
				}
			}
		}
		m.Jobs = append(m.Jobs, own)
		m.File.Jobs = append(m.File.Jobs, own.Name)
	}
	if len(bad.Findings) > 0 {
		return nil, bad
	}
	return m, nil
}

func jobOf(j *spec.Job, directory string) (Job, error) {
	in := j.Wish.Input
	in.Directory = "/" + in.Name // an image has none
	built, bad := spec.Build(in)
	img, badImage := spec.BuildImage(j.Wish.Image)
	var found, more spec.Invalid
	if errors.As(bad, &found) && errors.As(badImage, &more) {
		bad = append(found, more...)
	}
	if bad == nil {
		bad = badImage
	}
	if bad == nil && len(img.Formats) == 0 {
		bad = spec.Invalid{{Field: "image.format", Problem: "is not given for " + j.Name, Hint: "say it under defaults: image: {format: [tar.zst]}"}}
	}
	if hooks := built.Customize.Unmade(); bad == nil && len(hooks) > 0 {
		bad = hooks
	}
	return Job{
		Name: j.Name, Distro: built.Distro, Release: built.Release, Arch: built.Arch, Variant: j.Variant, Base: j.Base,
		Labels: built.Labels, Formats: img.Formats, Verify: img.Verify,
		Spec: j.Wish.Format(), wish: j.Wish, directory: directory,
	}, bad
}

// Named finds a job.
func (m *Matrix) Named(name string) (Job, bool) {
	i := slices.IndexFunc(m.Jobs, func(j Job) bool { return j.Name == name })
	if i < 0 {
		return Job{}, false
	}
	return m.Jobs[i], true
}

// InvokerKeys tells whether an image lets in who builds it.
func (m *Matrix) InvokerKeys() bool {
	return slices.ContainsFunc(m.Jobs, func(j Job) bool { return j.wish.Input.InvokerKeys })
}

// Order is the order in which jobs are begun when one runs at a time: after the
// job they are built on, and those first on which the longest chains wait.
func (m *Matrix) Order() []Job {
	height := map[string]int{} // of what is built on a job
	for range m.Jobs {
		for _, j := range m.Jobs {
			if j.Base != "" {
				height[j.Base] = max(height[j.Base], height[j.Name]+1)
			}
		}
	}
	depth := map[string]int{}
	for _, j := range m.Jobs {
		for base := j.Base; base != ""; depth[j.Name]++ {
			b, _ := m.Named(base)
			base = b.Base
		}
	}
	order := slices.Clone(m.Jobs)
	slices.SortStableFunc(order, func(a, b Job) int {
		return cmp.Or(depth[a.Name]-depth[b.Name], height[b.Name]-height[a.Name])
	})
	return order
}

// Only is the part of a matrix that names ask for, with what that is built on;
// those that are there for that alone are in needed. A name that is none is
// returned.
func (m *Matrix) Only(names []string) (part *Matrix, needed map[string]bool, unknown string) {
	wanted := map[string]bool{}
	needed = map[string]bool{}
	for _, name := range names {
		if _, ok := m.Named(name); !ok {
			return nil, nil, name
		}
		wanted[name] = true
	}
	for _, name := range names {
		for j, _ := m.Named(name); j.Base != ""; j, _ = m.Named(j.Base) {
			if !wanted[j.Base] {
				needed[j.Base] = true
			}
		}
	}
	part = &Matrix{File: m.File}
	for _, j := range m.Jobs {
		if wanted[j.Name] || needed[j.Name] {
			part.Jobs = append(part.Jobs, j)
		}
	}
	return part, needed, ""
}

// baseFormat is the format of a job's image that another is built on.
func (j Job) baseFormat() string {
	for _, f := range spec.BaseFormats {
		if slices.Contains(j.Formats, f) {
			return f
		}
	}
	return ""
}

// Title is a job as people say it.
func (j Job) Title() string {
	return strings.Join(slices.DeleteFunc([]string{j.Distro, j.Release, j.Variant}, func(s string) bool { return s == "" }), " ")
}
