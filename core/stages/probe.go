package stages

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// probeComment marks the line of a probe key, so that one that a crash left
// behind is found. Its private half lived in memory only and opens nothing.
const probeComment = "nspawn-build-probe"

// probeKey is a key that exists for one proof that one can log in.
type probeKey struct {
	signer ssh.Signer
	line   string
}

// newProbeKey makes a key that sshd takes from the host's end of the link only,
// and that can do nothing but run a command.
func newProbeKey(from string) (probeKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return probeKey{}, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return probeKey{}, err
	}
	line := `from="` + from + `",restrict ` + marshalKey(signer.PublicKey()) + " " + probeComment
	return probeKey{signer, line}, nil
}

// letIn adds the key to those that the tree lets in.
func (k probeKey) letIn(tree *rootfs.Tree) error {
	keys, err := readKeys(tree)
	if err != nil {
		return err
	}
	return writeKeys(tree, append(withoutProbes(keys), k.line))
}

// shutOut takes every probe key out again.
func shutOut(tree *rootfs.Tree) error {
	keys, err := readKeys(tree)
	if err != nil || !slices.ContainsFunc(keys, isProbe) {
		return err
	}
	return writeKeys(tree, withoutProbes(keys))
}

// shutOutOfCopy does the same in a machine that runs on a copy of its tree. The
// key opens nothing any more; it is only that nothing should be there.
func shutOutOfCopy(ctx context.Context, d driver.Driver, m store.Machine) error {
	if !m.Spec.Storage.Ephemeral {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	status, err := d.Status(ctx, m.Name)
	if err != nil || status.State != driver.Running {
		return err
	}
	_, _, err = inside.Command{
		Leader: status.Leader,
		Argv:   []string{"sed", "-i", "/ " + probeComment + "$/d", "/" + pathKeys},
	}.Output(ctx, 1<<10)
	if errors.Is(err, inside.ErrStopped) {
		return nil // it is off already, and the copy gone
	}
	return err
}

func withoutProbes(keys []string) []string {
	return slices.DeleteFunc(slices.Clone(keys), isProbe)
}

func isProbe(line string) bool { return strings.HasSuffix(line, " "+probeComment) }
