// Command nspawn-build-plugin-pacstrap makes the root file systems of Arch Linux
// machines, and on aarch64 of Arch Linux ARM's, with pacstrap.
//
// It writes only below the three directories of a request and into a scratch
// directory that it removes, trusts no package that no key of its own private
// keyring has signed, reads nothing of the host's pacman but the mirrors that
// are in use there, and hands no value of a request to a shell.
package main

import (
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func main() { sdk.Serve(newPlugin()) }
