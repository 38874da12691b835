package spec

// Limits bound what a machine may use. The zero value of a field means that
// nothing is set and the host's default holds.
type Limits struct {
	// CPUQuota is a share of one CPU in percent: 50 is half a CPU, 200 two.
	CPUQuota uint64 `json:"cpuQuota,omitempty"`
	// MemoryMax is in bytes; Infinity means no limit.
	MemoryMax uint64 `json:"memoryMax,omitempty"`
	// IOWeight is 1 to 10000.
	IOWeight uint64 `json:"ioWeight,omitempty"`
	// TasksMax counts processes and threads; Infinity means no limit.
	TasksMax uint64 `json:"tasksMax,omitempty"`
}

// Infinity is the value of a limit that the user lifted by name. It is what
// systemd means by the same word.
const Infinity = ^uint64(0)
