package matrix

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// inputs is the digest of all that a job is built of as far as this host knows
// it: what is said of it, the files that it names, the program, and the image
// that it is built on. It is the same wherever the matrix file lies. What the
// mirrors hold is no part of it.
func (j Job) inputs(program, baseDigest string, invokerKeys []string) (string, error) {
	h := sha256.New()
	said := strings.ReplaceAll(string(j.Spec), strings.TrimSuffix(j.directory, "/")+"/", "./")
	fmt.Fprintf(h, "program %q\nbase %q\nspec %q\n", program, baseDigest, said)
	in := j.wish.Input
	if in.InvokerKeys {
		fmt.Fprintf(h, "keys %q\n", invokerKeys)
	}
	files := append([]string{in.Keyring, j.wish.Image.Lock}, in.Scripts...)
	files = append(files, j.wish.KeyFiles...)
	for _, c := range in.Copies {
		if parsed, bad := spec.ParseCopy(c); bad == nil {
			files = append(files, parsed.Source)
		}
	}
	for _, f := range files {
		if f == "" {
			continue
		}
		if err := addTree(h, f); err != nil {
			return "", fmt.Errorf("%s: %w", j.Name, err)
		}
	}
	if f := j.wish.PasswordFile; f != "" {
		// Of a password not even a digest is kept: only when it was changed.
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintf(h, "password of %d\n", info.ModTime().UnixNano())
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// addTree adds the content of a file, or of all below a directory, by names
// that begin at it. One that is a link is followed, as it is when it is copied;
// those in a tree are not. What is not there is for the job to say.
func addTree(h hash.Hash, root string) error {
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(root, path)
		if relErr != nil {
			return relErr
		}
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if err != nil {
			fmt.Fprintf(h, "unread %q\n", name)
			return nil //nolint:nilerr // the job that uses it says what is wrong
		}
		fmt.Fprintf(h, "%q %s", name, info.Mode())
		switch {
		case info.Mode().IsRegular():
			fmt.Fprintf(h, " %d ", info.Size())
			return addFile(h, path)
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			fmt.Fprintf(h, " %q", target)
		}
		fmt.Fprintln(h)
		return nil
	})
}

func addFile(h hash.Hash, path string) error {
	sum, err := fileDigest(path)
	if err != nil {
		sum = "unread"
	}
	_, err = fmt.Fprintln(h, sum)
	return err
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
