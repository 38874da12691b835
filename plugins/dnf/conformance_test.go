package main

import (
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// TestThePluginKeepsToTheRules runs those that need no mirror, on a host that
// has all that it takes.
func TestThePluginKeepsToTheRules(t *testing.T) {
	sdktest.Run(t, sdktest.Config{
		Plugin: &plugin{host: debianHost(t, dnf5)}, Request: sdk.Request{Architecture: "x86_64", Keyring: "/etc/keys/own.asc"}, Offline: true,
	})
}
