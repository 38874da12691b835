package pluginhost

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// TestAFailureOfAPluginWithoutTheSDKKeepsItsCodeAndHint asks the plugin in Python
// for what it cannot do, by calls whose answers have no place for that.
func TestAFailureOfAPluginWithoutTheSDKKeepsItsCodeAndHint(t *testing.T) {
	h := newHost(t)
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf, cryptography").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the plugin in Python needs its packages: %v\n%s", err, out)
		}
		t.Skipf("the plugin in Python needs its packages: %v", err)
	}
	path := filepath.Join(t.TempDir(), FileOf("tarball"))
	must(t, copyFile("../../examples/plugins/tarball-python/"+FileOf("tarball"), path))
	h.Directories, h.Dev = nil, []DevPlugin{{Name: "tarball", Path: path}}
	l, err := h.DevListing()
	must(t, err)
	s, err := h.Start(t.Context(), l, Grants{})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	req := sdk.Request{
		Distro: "tarball", Mirrors: []string{"file:///a.tar"}, Packages: []string{"git"},
		Options: map[string]string{"sha256": strings.Repeat("0", 64)},
	}
	_, planned := s.Plan(t.Context(), req)
	_, stated := s.State(t.Context(), req)
	for call, err := range map[string]error{"Plan": planned, "State": stated} {
		var failure *sdk.Failure
		if !errors.As(err, &failure) || failure.Code != sdk.CodeInvalidRequest || failure.Hint != "leave --package out" ||
			failure.Message != "packages: a tarball has the packages that are in it" {
			t.Errorf("%s: %#v", call, err)
		}
	}
}
