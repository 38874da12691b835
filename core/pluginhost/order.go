package pluginhost

import "encoding/json"

// initArgument is the first argument of the program when it is to be the first
// process of a plugin's namespaces. It is no command for people.
const initArgument = "plugin-init"

// The descriptors that the first process is started with, beside 0, 1 and 2,
// which it hands on to the plugin.
const (
	fdOrder  = 3 // the order; and as long as it stays open, the host lives
	fdBinary = 4 // the verified program
	fdReport = 5 // where the reports go
)

// order is what the first process is told to do.
type order struct {
	Argv     []string `json:"argv"`
	Env      []string `json:"env"`
	Writable []string `json:"writable"`
	Readable []string `json:"readable"`
	Stamp    stamp    `json:"stamp"`
	Remount  bool     `json:"remount"` // do without mount_setattr
}

// report is what it tells: a warning, that it could not do it, or how the
// plugin ended.
type report struct {
	Warning string `json:"warning,omitempty"`
	Error   string `json:"error,omitempty"`
	Ended   string `json:"ended,omitempty"`
}

// parseReports reads reports, one JSON object after the other, up to what is
// not one.
func parseReports(content []byte) []report {
	var reports []report
	for _, line := range splitLines(content) {
		var r report
		if json.Unmarshal(line, &r) != nil {
			break
		}
		reports = append(reports, r)
	}
	return reports
}
