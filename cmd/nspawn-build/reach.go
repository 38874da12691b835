package main

import (
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// address is the machine's, and empty for one without a link.
func address(m store.Machine) string {
	if !m.Address.IsValid() {
		return ""
	}
	return m.Address.Addr().String()
}

// orNone is what stands in a table in place of nothing.
func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// noLink is the answer to who wants to reach a machine that has no link.
func noLink(m store.Machine) error {
	return &machines.HostError{
		Problem: "machine " + m.Name + " was made with --private-network: there is no SSH without a network",
		Hint:    "enter it another way: nspawn-build shell " + m.Name + ", or nspawn-build exec " + m.Name + " COMMAND",
	}
}
