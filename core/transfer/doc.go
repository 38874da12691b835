// Package transfer copies files and trees between this host and a machine, as
// a tar stream between two ends: one that packs, one that unpacks.
//
// The end in the machine is this same program, run there as the machine's root
// with nothing of the host's in reach: it may be led wherever the machine's
// own links lead. The end on the host never follows a link of the tree that it
// reads and never leaves the directory that it writes to, whatever the other
// end sends, for that end belongs to the machine. A program never gets rights on
// the host, by its bits or its capabilities, unless that was asked for. Devices,
// sockets and pipes are not copied.
package transfer
