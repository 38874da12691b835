// Command nspawn-build-plugin-dnf makes the root file systems of Fedora, CentOS
// Stream, Rocky Linux and AlmaLinux machines with dnf5 or dnf 4.
//
// It writes only below the three directories of a request, installs nothing that
// no trusted key has signed, reads none of the host's configuration of dnf, and
// hands no value of a request to a shell.
package main

import (
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func main() { sdk.Serve(newPlugin()) }
