package spec

import (
	"fmt"
	"strings"
	"unicode"
)

// A spec file says in YAML what the flags say, for one machine or for several.
// What it can say is one table, fileFields, from which the reader, the writer,
// the JSON Schema and the answer to "what does it take to change that?" come.

// Bounds of a spec file.
const (
	fileSizeLimit    = 256 << 10
	fileLineLimit    = 16 << 10
	fileIndentLimit  = 100
	fileNestingLimit = 16 // of brackets, and of dashes on one line
	fileMachineLimit = 1000
	fileFindingLimit = 50      // that are told at once
	fileNodeLimit    = 100_000 // values that are looked at, those behind aliases each time
)

// Source is where a spec file was read.
type Source struct {
	Name      string // as the user knows it
	Directory string // absolute; relative paths in the file begin here
	Home      string // absolute; what "~/" stands for
}

// File is what a spec file says.
type File struct {
	// Several says that the file has a list of machines; without one it
	// describes a single machine, which may be left without a name.
	Several  bool
	Machines []*Wish
}

// Wish is one machine of a spec file, word for word. What belongs to it and is
// no part of an Input is beside it.
type Wish struct {
	Input Input
	// KeyFiles are files of public keys that are let in.
	KeyFiles     []string
	PasswordFile string
	PasswordHash Secret
	NoBoot       bool
	Timeout      string
	Image        ImageInput // how an image is made of it

	source *text
	start  place            // of the machine in the file
	said   map[string]value // by key
	// elsewhere are the keys that something other than the file says.
	elsewhere map[string]bool
}

// place is a position in a file, from 1.
type place struct{ line, column int }

// value is where the file says something, and what.
type value struct {
	key, at place
	parts   []part // of a list or of pairs
}

type part struct {
	text string
	at   place
}

// Says reports whether the file says a field of the machine, itself or in its
// defaults.
func (w *Wish) Says(key string) bool {
	_, said := w.said[key]
	return said
}

// Elsewhere says that a field is not said by the file but by something else,
// where what is wrong with it is to be looked for.
func (w *Wish) Elsewhere(key string) {
	delete(w.said, key)
	if w.elsewhere == nil {
		w.elsewhere = map[string]bool{}
	}
	w.elsewhere[key] = true
}

// FileError holds everything that is wrong with a spec file. It is an Invalid
// to those who do not care for the places.
type FileError struct{ Findings []Finding }

// Finding is one thing that is wrong in a file.
type Finding struct {
	*FieldError
	File         string
	Line, Column int // from 1; zero where the file does not say it
	// Excerpt is the line, and below it a mark under the place; what could be
	// a secret is left out.
	Excerpt []string
}

// Error is one line: file:line:column: field: "value" problem.
func (f Finding) Error() string {
	if f.Line == 0 {
		return f.FieldError.Error()
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.FieldError.Error())
}

// Error joins the findings with newlines.
func (e *FileError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the findings without their places.
func (e *FileError) Unwrap() error {
	bad := make(Invalid, len(e.Findings))
	for i, f := range e.Findings {
		bad[i] = f.FieldError
	}
	return bad
}

// Locate gives findings about the machine their places in the file. Where
// nothing says the field, that is where the machine begins.
func (w *Wish) Locate(bad Invalid) *FileError {
	e := &FileError{}
	for _, found := range bad {
		e.Findings = append(e.Findings, w.source.finding(w.find(found), found))
	}
	return e
}

// find is the place that a finding is about.
func (w *Wish) find(e *FieldError) place {
	best := w.start
	for _, f := range FileFields {
		v, said := w.said[f.Key]
		if w.elsewhere[f.Key] && f.named(e.Field) {
			best = place{}
		}
		if !said || !f.named(e.Field) {
			continue
		}
		for _, p := range v.parts {
			if p.text == e.Value {
				return p.at
			}
		}
		if best = v.at; f.kind == kindSecret {
			best = v.key
		}
	}
	return best
}

// text is the text of a file, for excerpts.
type text struct {
	name  string
	lines []string
}

func (t *text) finding(at place, e *FieldError) Finding {
	return Finding{FieldError: e, File: t.name, Line: at.line, Column: at.column, Excerpt: t.excerpt(at)}
}

// excerpt shows a line of the file. A password that somebody wrote into it is
// shown to nobody.
func (t *text) excerpt(at place) []string {
	if at.line < 1 || at.line > len(t.lines) {
		return nil
	}
	line := t.lines[at.line-1]
	if i := strings.Index(strings.ToLower(line), "password"); i >= 0 {
		if colon := strings.IndexByte(line[i:], ':'); colon >= 0 {
			line = line[:i+colon+1] + " " + redacted
		}
	} else if at.line > 1 && strings.Contains(strings.ToLower(t.lines[at.line-2]), "password") {
		return nil // it may go on over several lines
	}
	const widest = 120
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, line))
	column := min(max(at.column, 1), len(runes)+1)
	cut := 0
	if column > widest*2/3 {
		cut = column - widest/2
	}
	runes = runes[cut:min(len(runes), cut+widest)]
	number := fmt.Sprintf("%4d", at.line)
	return []string{
		strings.TrimRight(number+" | "+string(runes), " "),
		strings.Repeat(" ", len(number)) + " | " + strings.Repeat(" ", column-1-cut) + "^",
	}
}
