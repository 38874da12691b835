package sdk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// asPlugin makes the test binary a plugin when it is set.
const asPlugin = "NSPAWN_BUILD_TEST_SERVE"

func init() {
	if os.Getenv(asPlugin) != "" {
		sdk.Serve(double{describe: func() (sdk.Description, error) {
			return sdk.Description{Name: "example", Version: "1.0.0"}, nil
		}})
	}
}

// byHand runs the test binary as somebody would run a plugin in a shell.
func byHand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...) //nolint:gosec // itself
	cmd.Args[0] = "/usr/lib/nspawn-build/plugins/" + sdk.BinaryPrefix + "example"
	cmd.Env = append(os.Environ(), asPlugin+"=1")
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func TestAPluginRunByHandSaysWhatItIs(t *testing.T) {
	stdout, stderr, code := byHand(t)
	if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "the example plugin of nspawn-build") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	stdout, stderr, code = byHand(t, "describe")
	var d sdk.Description
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || code != 0 || stderr != "" {
		t.Fatalf("exit %d, %v, stderr %q", code, err, stderr)
	}
	expect(t, sdk.Description{Name: "example", Version: "1.0.0", Protocol: sdk.Protocol}, d, nil)
}
