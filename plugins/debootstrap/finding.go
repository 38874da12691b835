package main

import (
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// finding is a diagnostic, and what it would make Bootstrap fail with.
type finding struct {
	sdk.Diagnostic

	code sdk.Code
}

// findings collects what there is to say about a request.
type findings []finding

// refuse notes an error of the user's.
func (f *findings) refuse(field, message, hint string) {
	f.add(sdk.SeverityError, sdk.CodeInvalidRequest, field, message, hint)
}

// missing notes something that the host lacks.
func (f *findings) missing(field, message, hint string) {
	f.add(sdk.SeverityError, sdk.CodeHostNotReady, field, message, hint)
}

// warn notes what does not stop the job.
func (f *findings) warn(field, message, hint string) {
	f.add(sdk.SeverityWarning, sdk.CodeUnspecified, field, message, hint)
}

func (f *findings) add(severity sdk.Severity, code sdk.Code, field, message, hint string) {
	*f = append(*f, finding{
		Diagnostic: sdk.Diagnostic{Severity: severity, Field: field, Message: message, Hint: hint},
		code:       code,
	})
}

// asFailure returns the errors among the findings as one error.
func asFailure(all findings) error {
	var first *sdk.Failure
	var rest []error
	for _, f := range all {
		switch {
		case f.Severity != sdk.SeverityError:
		case first == nil:
			first = &sdk.Failure{Code: f.code, Message: f.Field + ": " + f.Message, Hint: f.Hint}
		default:
			rest = append(rest, fmt.Errorf("%s: %s", f.Field, f.Message))
		}
	}
	if first == nil {
		return nil
	}
	first.Err = errors.Join(rest...)
	return first
}
