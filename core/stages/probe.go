package stages

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
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

func withoutProbes(keys []string) []string {
	return slices.DeleteFunc(slices.Clone(keys), isProbe)
}

func isProbe(line string) bool { return strings.HasSuffix(line, " "+probeComment) }
