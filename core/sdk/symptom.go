package sdk

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"syscall"
)

// Symptom is something that a tool says when it fails, and what it means.
type Symptom struct {
	// Says matches one line of the tool's.
	Says *regexp.Regexp
	Code Code
	// Message says what it means. The first group of Says that is not empty is
	// put for %s in it, and "in question" where none is.
	Message string
	Hint    string
}

// SymptomsOfDisk are those of a disk that cannot take the tree, which every
// tool passes on from the C library.
var SymptomsOfDisk = []Symptom{
	{
		Says: regexp.MustCompile(`No space left on device|[Nn]ot enough (?:free )?(?:disk )?space|don't have enough free space|` +
			`Failed writing received data to disk`), // libcurl's, about a download,
		Code:    CodeDisk,
		Message: "the disk is full",
		Hint:    "free some space, or choose another place with --directory",
	},
	{
		Says:    regexp.MustCompile(`Disk quota exceeded`),
		Code:    CodeDisk,
		Message: "the disk quota is used up",
		Hint:    "free some space, or choose another place with --directory",
	},
	{
		Says:    regexp.MustCompile(`Read-only file system|Input/output error|mounted with noexec or nodev`),
		Code:    CodeDisk,
		Message: "the directory cannot be written to as a root file system has to be",
		Hint:    "choose another place with --directory",
	},
}

// Explain returns a failure that says what the last lines of a tool mean, and
// the same failure when they show none of the symptoms, or when it is not
// the tool that failed. Symptoms are looked for in their order: what is the
// cause of others has to come first.
func (f *Failure) Explain(symptoms ...Symptom) *Failure {
	if f.Code != CodeTool {
		return f
	}
	for _, s := range symptoms {
		for _, line := range f.Tail {
			m := s.Says.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			subject := firstGroup(m)
			if subject == "" {
				subject = "in question"
			}
			return &Failure{
				Code: s.Code, Message: strings.Replace(s.Message, "%s", subject, 1), Hint: s.Hint, Tail: f.Tail,
			}
		}
	}
	return f
}

func firstGroup(match []string) string {
	for i, group := range match {
		if i > 0 && group != "" {
			return group
		}
	}
	return ""
}

// AsFailure makes any error a *Failure. One that is not yet is of the plugin's
// own doing, and so about files: the disk's fault when the kernel says so.
func AsFailure(err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, full) {
			return &Failure{
				Code: CodeDisk, Message: err.Error(),
				Hint: "free some space, or choose another place with --directory",
			}
		}
	}
	if errors.Is(err, os.ErrPermission) {
		return &Failure{Code: CodeDisk, Message: err.Error(), Hint: "check the permissions of that place"}
	}
	return &Failure{Code: CodeTool, Message: err.Error()}
}
