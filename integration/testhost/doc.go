// Package testhost gives a test a host of its own: a real Debian with real
// systemd, booted within seconds in an outer systemd-nspawn, or the same tree
// without systemd as PID 1, for the direct driver.
//
// A host has a network namespace with one link, eth0, to an "outside" that the
// test process serves: a name server, a web page, and the package mirror of the
// machine that the tests run on. Nothing else can be reached, there is no
// default route, and so no packet of a test ever leaves for a real network.
//
// The package must never touch the machine that it runs on beyond its cache
// directory, its own cgroups and the processes that it started; all of it
// vanishes with the test process, also when that is killed.
package testhost
