// Command nspawn-build-plugin-debootstrap makes the root file systems of Debian
// and Ubuntu machines with mmdebstrap or debootstrap.
//
// It writes only below the three directories of a request, trusts nothing that
// no key of the keyring has signed, and hands no value of a request to a shell.
package main

import (
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func main() { sdk.Serve(newPlugin()) }
