//go:build integration

package main

import (
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// TestThePluginKeepsToEveryRule makes a machine, too, and cancels another.
func TestThePluginKeepsToEveryRule(t *testing.T) {
	sdktest.NeedTools(t, "dnf", "rpm", sysusers)
	from := testrepo.Fedora(t)
	sdktest.Run(t, sdktest.Config{
		Plugin: newPlugin(), Request: sdk.Request{
			Distro: "fedora", Release: testrepo.FedoraRelease, Mirrors: []string{from.Mirror()}, Keyring: from.Keyring,
		},
	})
}
