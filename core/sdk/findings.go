package sdk

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Findings collects what there is to say about a request, for Validate to
// return as diagnostics and for Plan and Bootstrap to fail with. Its zero value
// is ready.
type Findings struct{ all []Diagnostic }

// Refuse notes an error of the user's.
func (f *Findings) Refuse(field, message, hint string) {
	f.add(SeverityError, CodeInvalidRequest, field, message, hint)
}

// Missing notes something that the host lacks.
func (f *Findings) Missing(field, message, hint string) {
	f.add(SeverityError, CodeHostNotReady, field, message, hint)
}

// Warn notes what does not stop the job.
func (f *Findings) Warn(field, message, hint string) {
	f.add(SeverityWarning, CodeUnspecified, field, message, hint)
}

func (f *Findings) add(severity Severity, code Code, field, message, hint string) {
	f.all = append(f.all, Diagnostic{Severity: severity, Field: field, Message: message, Hint: hint, Code: code})
}

// Diagnostics returns all that was noted, in order.
func (f *Findings) Diagnostics() []Diagnostic { return slices.Clone(f.all) }

// Err returns the errors among the findings as one *Failure, and nil when there
// are none.
func (f *Findings) Err() error {
	var first *Failure
	var rest []error
	for _, found := range f.all {
		switch {
		case found.Severity != SeverityError:
		case first == nil:
			first = &Failure{Code: found.Code, Message: found.Field + ": " + found.Message, Hint: found.Hint}
		default:
			rest = append(rest, fmt.Errorf("%s: %s", found.Field, found.Message))
		}
	}
	if first == nil {
		return nil
	}
	first.Err = errors.Join(rest...)
	return first
}

// Options returns the value of every declared option: the given one, else the
// default. What is given and not declared, or none of its choices, is refused.
func (f *Findings) Options(declared []Option, given map[string]string) map[string]string {
	values, names := map[string]string{}, make([]string, 0, len(declared))
	for _, o := range declared {
		values[o.Name] = o.Default
		names = append(names, o.Name)
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		i := slices.Index(names, key)
		if i < 0 {
			hint := "the options are " + strings.Join(names, ", ")
			if len(names) == 0 {
				hint = "leave it out: the plugin has no options"
			}
			f.Refuse("options", "there is no option "+Quoted(key), hint)
			continue
		}
		if o := declared[i]; o.Choices != nil && !slices.Contains(o.Choices, given[key]) {
			f.Refuse("options."+key, Quoted(given[key])+" is none of its values", "use "+strings.Join(o.Choices, ", "))
			continue
		}
		values[key] = given[key]
	}
	return values
}

// Quoted shows a value of the user's in a message, whatever is in it.
func Quoted(value string) string { return strconv.Quote(Clean(value, 200)) }
