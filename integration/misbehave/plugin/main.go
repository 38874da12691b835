// Command nspawn-build-plugin-MODE is a plugin that misbehaves in the way that it
// is called after: see integration/misbehave. It must never be installed
// outside of a test host.
package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/integration/misbehave"
)

func main() {
	misbehave.Run(strings.TrimPrefix(filepath.Base(os.Args[0]), sdk.BinaryPrefix))
}
