// Package integration holds the scenarios: what nspawn-build promises, tried
// on real hosts with real tools, the installed program and real ssh. See
// testhost for what a host is, and run them with `make integration`.
//
// A scenario must never ask the program how it did where the host, the machine
// or the kernel can be asked instead.
package integration
