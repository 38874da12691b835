package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What is beside an image that is a file, after its name, by which `machinectl
// pull-tar` and pull-raw verify it: see --verify= in machinectl(1). They ask for
// the sum of the one file first, and only without that for SHA256SUMS, which
// several images of one directory would have to share.
//
// A signature is in the sum itself, as systemd up to 257 wants it of that file,
// and beside it, as it does since 258.
const (
	SuffixSum       = ".sha256"
	SuffixSignature = SuffixSum + ".asc"
)

// Summed tells whether images of a format have a sum beside them: what is a
// directory has none.
func Summed(f Format) bool { return f != Directory && f != OCI }

// Sum is a line as sha256sum(1) writes it.
func Sum(a Artifact) []byte {
	return fmt.Appendf(nil, "%s  %s\n", a.SHA256, filepath.Base(a.Path))
}

// Sums is one line for each of these images that is a file, sorted by name.
func Sums(artifacts []Artifact) []byte {
	var lines [][]byte
	for _, a := range artifacts {
		if Summed(a.Format) {
			lines = append(lines, Sum(a))
		}
	}
	slices.SortFunc(lines, func(a, b []byte) int { return bytes.Compare(a[64:], b[64:]) })
	return bytes.Join(lines, nil)
}

// Signer is a key of GnuPG, of the keys that $GNUPGHOME has, or $HOME. It asks for
// nothing: a key with a passphrase needs an agent that knows it.
type Signer struct {
	Key string // as gpg has it: a fingerprint, or an address
}

var gnupg = need("gpg", "signs", "gnupg", "gnupg", "gnupg2")

// Needs says what programs signing takes on the host.
func (Signer) Needs() []Need { return []Need{gnupg} }

// Check tells whether gpg has the secret key.
func (s Signer) Check(ctx context.Context) error {
	return s.run(ctx, "", nil, "--list-secret-keys", "--", s.Key)
}

// Sign returns a sum with its signature in it, and the signature of that.
func (s Signer) Sign(ctx context.Context, sum []byte) (signed, signature []byte, err error) {
	dir, err := os.MkdirTemp("", "nspawn-build-sign-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const result = "signed"
	made := func(in []byte, how ...string) ([]byte, error) {
		if err := s.run(ctx, dir, in, append([]string{"--local-user", s.Key, "--yes", "--output", result}, how...)...); err != nil {
			return nil, err
		}
		return os.ReadFile(filepath.Join(dir, result))
	}
	if signed, err = made(sum, "--clear-sign"); err != nil {
		return nil, nil, err
	}
	signature, err = made(signed, "--armor", "--detach-sign")
	return signed, signature, err
}

func (s Signer) run(ctx context.Context, dir string, in []byte, arguments ...string) error {
	if s.Key == "" || strings.HasPrefix(s.Key, "-") {
		return fmt.Errorf("%q is no key", s.Key)
	}
	var environment []string
	for _, name := range []string{"HOME", "GNUPGHOME", "XDG_RUNTIME_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	t := tool{dir: dir, environment: environment, in: bytes.NewReader(in)}
	return t.run(ctx, gnupg.Program, append([]string{"--batch", "--no-tty"}, arguments...)...)
}
