//go:build integration

package unitfile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// The real systemd-nspawn, in mount and network namespaces of its own where
// our file is the only settings file, understands every line of it and shows
// a source of any name under a target of any name.
func TestNspawnReadsOurSettings(t *testing.T) {
	testhost.Require(t, "systemd-nspawn", "unshare")
	odd := filepath.Join(t.TempDir(), `100% a:b\c "d" [Exec] #;=`)
	if err := os.WriteFile(odd, []byte("shown\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const target = `/mnt/ x:y\z%i 'q'`
	settings, err := Nspawn{
		Machine: "unitfile-test", SystemdVersion: version(t, "systemctl"), DropCapabilities: []string{"CAP_SYS_PTRACE"},
		Capabilities: []string{"CAP_SYS_TIME"}, NoNewPrivileges: true, SystemCallFilter: []string{"~userfaultfd", "@clock"}, ReadOnly: true,
		Binds: []Bind{{Source: "/usr", ReadOnly: true}, {Source: odd, Target: target, ReadOnly: true}},
	}.Render()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "unitfile-test.nspawn")
	if err := os.WriteFile(file, settings, 0o644); err != nil {
		t.Fatal(err)
	}

	tree := smallTree(t)
	// On a read-only root there must be something to mount over.
	if err := os.WriteFile(filepath.Join(tree, target), nil, 0o644); err != nil {
		t.Fatal(err)
	}

	// --as-pid2 overrules Boot=yes; there is no init in this tree.
	const script = `set -e
mount --make-rprivate /
mkdir -p /etc/systemd/nspawn /run/systemd/nspawn
mount -t tmpfs none /etc/systemd/nspawn
mount -t tmpfs none /run/systemd/nspawn
cp "$1" /etc/systemd/nspawn/
exec systemd-nspawn --quiet --register=no --keep-unit --settings=yes --as-pid2 --console=pipe -M unitfile-test -D "$2" \
	sh -c 'cat "$1"; sed -n "s/^NoNewPrivs:.*\([01]\)/privileges \1/p" /proc/self/status; touch /x 2>/dev/null || echo read-only; touch /var/x && echo /var' sh "$3"
`
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "sh", "-c", script, "sh", file, tree, target)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if stdout.String() != "shown\nprivileges 1\nread-only\n/var\n" {
		t.Errorf("in the machine one sees %q", stdout.String())
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "unitfile-test.nspawn") {
			t.Errorf("systemd-nspawn says of our file: %s", line)
		}
	}
}

// smallTree is a tree that runs the host's /usr once that is bound into it.
func smallTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	for _, d := range []string{"usr", "etc", "proc", "sys", "dev", "run", "tmp", "mnt", "root", "var"} {
		if err := os.Mkdir(filepath.Join(tree, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+d, filepath.Join(tree, d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "etc/os-release"), []byte("ID=test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return tree
}
