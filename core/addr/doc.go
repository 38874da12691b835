// Package addr chooses what a machine is reached by: the /24 that it shares
// with the host, and the name of the host's end of its link.
//
// It is pure. What other machines use and what the host's routes and
// interfaces have taken is handed in; the package never asks the system, opens
// a file or sends a packet, and never hands out a subnet that overlaps
// anything it was told of.
package addr
