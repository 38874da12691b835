// Command nspawn-build-plugin-zypper makes the root file systems of openSUSE
// machines with zypper. It is an example of a plugin that lives in a repository
// of its own: it imports the public SDK of nspawn-build and nothing else of it.
//
// It writes only below the three directories of a request, installs nothing
// whose repository no trusted key has signed, and hands no value of a request to
// a shell.
package main

import "github.com/nspawn-build/nspawn-build/core/sdk"

func main() { sdk.Serve(plugin{sdk.ThisHost()}) }
