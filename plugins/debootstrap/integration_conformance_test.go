//go:build integration

package main

import (
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// TestThePluginKeepsToEveryRule makes a machine, too, and cancels another.
func TestThePluginKeepsToEveryRule(t *testing.T) {
	sdktest.NeedTools(t, engineMmdebstrap)
	sdktest.Run(t, sdktest.Config{Plugin: newPlugin(), Request: sdk.Request{Distro: "debian", Release: "trixie"}})
}
