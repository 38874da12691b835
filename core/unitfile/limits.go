package unitfile

import (
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// LimitsDropIn bounds what a machine's service may use, as
// /etc/systemd/system/systemd-nspawn@MACHINE.service.d/50-nspawn-build.conf.
type LimitsDropIn struct {
	Machine string
	Limits  spec.Limits
	// Tree is where the machine's tree is: the disk that holds it is the one
	// whose bandwidth is bounded. The service manager finds it.
	Tree string
}

// Render returns the file. Limits that set nothing leave only the
// header; the caller removes the file then, rather than write it.
func (d LimitsDropIn) Render() ([]byte, error) {
	const heaviest = 10000
	l := d.Limits
	var f file
	f.in("Service")
	if l.CPUQuota == spec.Infinity {
		f.set("CPUQuota", "") // the way to lift a quota: it knows no "infinity"
	} else if l.CPUQuota > 0 {
		f.set("CPUQuota", strconv.FormatUint(l.CPUQuota, 10)+"%")
	}
	if l.MemoryMax > 0 {
		f.set("MemoryMax", amount(l.MemoryMax))
	}
	if l.MemoryHigh > 0 {
		f.set("MemoryHigh", amount(l.MemoryHigh))
	}
	if l.IOBandwidth > 0 {
		if !strings.HasPrefix(d.Tree, "/") {
			return nil, &ValueError{"IOReadBandwidthMax", d.Tree, "is not an absolute path"}
		}
		// Given twice, for reading and for writing, as the service manager has it.
		f.set("IOReadBandwidthMax", quoted(d.Tree)+" "+amount(l.IOBandwidth))
		f.set("IOWriteBandwidthMax", quoted(d.Tree)+" "+amount(l.IOBandwidth))
	}
	if l.IOWeight > 0 {
		weight := strconv.FormatUint(l.IOWeight, 10)
		if l.IOWeight > heaviest {
			return nil, &ValueError{"IOWeight", weight, "is not between 1 and 10000"}
		}
		f.set("IOWeight", weight)
	}
	if l.TasksMax > 0 {
		f.set("TasksMax", amount(l.TasksMax))
	}
	return f.render(d.Machine)
}

func amount(n uint64) string {
	if n == spec.Infinity {
		return "infinity"
	}
	return strconv.FormatUint(n, 10)
}

// quoted makes a path one word of a value in which specifiers are expanded.
func quoted(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if !strings.ContainsAny(path, " \"'\\") {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}
