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

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
)

// SumsName is the file of checksums that `machinectl pull-tar` and pull-raw look
// for beside what they pull, and SignatureName that of its signature.
const (
	SumsName      = "SHA256SUMS"
	SignatureName = SumsName + ".gpg"
)

// Sums is the content of SHA256SUMS for these images, as sha256sum(1) writes it:
// one line for each that is a file, sorted by name.
func Sums(artifacts []Artifact) []byte {
	var lines []string
	for _, a := range artifacts {
		if a.Format != Directory && a.Format != OCI {
			lines = append(lines, fmt.Sprintf("%s  %s\n", a.SHA256, filepath.Base(a.Path)))
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return []byte(strings.Join(lines, ""))
}

// WriteSums writes SHA256SUMS into the directory that the images are in.
func WriteSums(dir string, artifacts []Artifact) (path string, err error) {
	path = filepath.Join(dir, SumsName)
	return path, atomicfile.Write(path, Sums(artifacts), 0o644)
}

// Sign signs the checksums at path with a key of the caller's GnuPG, named as
// gpg has it, and returns the path of the signature. It asks for nothing: a key
// with a passphrase needs an agent that knows it.
func Sign(ctx context.Context, path, key string) (signature string, err error) {
	gpg := need("gpg", "signs", "gnupg", "gnupg", "gnupg2")
	if err := checkNeeds([]Need{gpg}); err != nil {
		return "", err
	}
	if key == "" || strings.HasPrefix(key, "-") {
		return "", fmt.Errorf("key: %q is not a key", key)
	}
	sums, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "nspawn-build-sign-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var environment []string
	for _, name := range []string{"HOME", "GNUPGHOME", "XDG_RUNTIME_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	t := tool{dir: dir, environment: environment, in: bytes.NewReader(sums)}
	if err := t.run(ctx, "gpg", "--batch", "--no-tty", "--local-user", key, "--output", "signature", "--detach-sign"); err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join(dir, "signature"))
	if err != nil {
		return "", err
	}
	signature = filepath.Join(filepath.Dir(path), SignatureName)
	return signature, atomicfile.Write(signature, data, 0o644)
}
