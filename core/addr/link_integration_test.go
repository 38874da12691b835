//go:build integration

package addr

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// The real systemd-nspawn, in namespaces of its own, names its links as we do.
func TestNspawnNamesItsLinksAsWeDo(t *testing.T) {
	testhost.Require(t, "systemd-nspawn", "unshare", "ip")
	tree := t.TempDir()
	for _, d := range []string{"usr", "etc", "proc", "sys", "dev", "run", "tmp"} {
		if err := os.Mkdir(filepath.Join(tree, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+d, filepath.Join(tree, d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "etc/os-release"), []byte("ID=test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The host's end is seen from outside while the machine waits; neither
	// waits for longer than ten seconds.
	const script = `set -e
mount --make-rprivate /
mkdir -p /run/systemd/nspawn
mount -t tmpfs none /run/systemd/nspawn
timeout 10 systemd-nspawn --quiet --register=no --keep-unit --settings=no --bind-ro=/usr --bind="$1:/tmp" \
	-M "$2" -D "$3" --network-veth sh -c 'echo >/tmp/up; until [ -e /tmp/go ]; do sleep 0.02; done' >&2 &
for i in $(seq 500); do [ -e "$1/up" ] && break; sleep 0.02; done
ip -o link
touch "$1/go"
wait $!
`
	for _, machine := range []string{"a", "twelve-bytes", "thirteen-byte", "averylongcontainername01", strings.Repeat("x.Y-9", 12)} {
		t.Run(machine, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "sh", "-c", script, "sh", t.TempDir(), machine, tree)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			if want := " " + LinkName(machine, Hashed) + "@"; !strings.Contains(string(out), want) {
				t.Errorf("no%s among\n%s%s", want, out, stderr.String())
			}
		})
	}
}
