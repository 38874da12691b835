package sdk

// Code says in what way a bootstrap failed.
type Code int

// The codes, in the order of the protocol's FailureCode.
const (
	CodeUnspecified    Code = iota
	CodeInvalidRequest      // unknown release, package or option
	CodeHostNotReady        // a tool or keyring is missing on the host
	CodeMirror              // the mirror cannot be reached or is broken
	CodeVerification        // a signature or checksum does not verify
	CodeDisk                // the disk is full or not writable
	CodeTool                // the tool failed in another way
	CodeCanceled            // the job was cancelled
)

// Failure is an error that tells the user what to do.
type Failure struct {
	Code    Code
	Message string
	Hint    string
	Tail    []string // the last lines of the tool's output
	Err     error    // the cause, not sent over the wire
}

// Error returns the message and, where there is one, the cause.
func (f *Failure) Error() string {
	if f.Err != nil {
		return f.Message + ": " + f.Err.Error()
	}
	return f.Message
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }
