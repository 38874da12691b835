package spec

import "strconv"

// Limits bound what a machine may use. The zero value of a field means that
// nothing is set and the host's default holds.
type Limits struct {
	// CPUQuota is a share of one CPU in percent: 50 is half a CPU, 200 two.
	CPUQuota uint64 `json:"cpuQuota,omitempty"`
	// MemoryMax is in bytes; Infinity means no limit.
	MemoryMax uint64 `json:"memoryMax,omitempty"`
	// MemoryHigh is in bytes: above it the machine is slowed down and its
	// memory reclaimed, and nothing is killed; Infinity means no limit.
	MemoryHigh uint64 `json:"memoryHigh,omitempty"`
	// IOBandwidth is in bytes a second, for reading and for writing each, on
	// the device that holds the machine's tree; Infinity means no limit.
	IOBandwidth uint64 `json:"ioBandwidth,omitempty"`
	// IOWeight is 1 to 10000.
	IOWeight uint64 `json:"ioWeight,omitempty"`
	// TasksMax counts processes and threads; Infinity means no limit.
	TasksMax uint64 `json:"tasksMax,omitempty"`
}

// Infinity is the value of a limit that the user lifted by name. It is what
// systemd means by the same word.
const Infinity = ^uint64(0)

// Words are the limits that are set, as one says them: "MemoryMax=512M".
func (l Limits) Words() []string {
	var words []string
	add := func(name string, v uint64, show func(uint64) string) {
		switch v {
		case 0:
		case Infinity:
			words = append(words, name+"=infinity")
		default:
			words = append(words, name+"="+show(v))
		}
	}
	add("CPUQuota", l.CPUQuota, func(v uint64) string { return plain(v) + "%" })
	add("MemoryMax", l.MemoryMax, size)
	add("MemoryHigh", l.MemoryHigh, size)
	add("IOBandwidth", l.IOBandwidth, size)
	add("IOWeight", l.IOWeight, plain)
	add("TasksMax", l.TasksMax, plain)
	return words
}

// size writes bytes with the largest suffix that leaves a whole number.
func size(v uint64) string {
	const suffixes = "KMGT"
	i := -1
	for v%1024 == 0 && i+1 < len(suffixes) {
		v /= 1024
		i++
	}
	if i < 0 {
		return strconv.FormatUint(v, 10)
	}
	return strconv.FormatUint(v, 10) + suffixes[i:i+1]
}
