package stages

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/go-crypt/x/yescrypt"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// The cost of yescrypt that libxcrypt chooses by default: N=4096, r=32, p=1,
// which crypt(5) writes as "j9T".
const (
	yescryptPrefix  = "$y$"
	yescryptSetting = "j9T"
	yescryptLog2N   = 12
	yescryptR       = 32
)

// hashPassword returns a crypt(3) hash: yescrypt, or sha512-crypt for a
// libcrypt that knows no yescrypt.
func hashPassword(password spec.Secret, knowsYescrypt bool) (string, error) {
	if !knowsYescrypt {
		hasher, err := shacrypt.NewSHA512()
		if err != nil {
			return "", err
		}
		digest, err := hasher.Hash(password.Reveal())
		if err != nil {
			return "", errors.New("sha512-crypt could not hash the password")
		}
		return digest.Encode(), nil
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	return yescryptHash(password.Reveal(), salt)
}

func yescryptHash(password string, salt []byte) (string, error) {
	key, err := yescrypt.Key([]byte(password), salt, 1<<yescryptLog2N, yescryptR, 1, 32)
	if err != nil {
		return "", errors.New("yescrypt could not hash the password")
	}
	return yescryptPrefix + yescryptSetting + "$" + string(yescrypt.Encode64(salt)) + "$" + string(yescrypt.Encode64(key)), nil
}

// matches reports whether hash, as it stands in shadow(5), is of password. A
// hash of a kind that cannot be computed here does not match.
func matches(hash string, password spec.Secret) bool {
	if rest, ok := strings.CutPrefix(hash, yescryptPrefix+yescryptSetting+"$"); ok {
		salt, _, _ := strings.Cut(rest, "$")
		again, err := yescryptHash(password.Reveal(), yescrypt.Decode64([]byte(salt)))
		return err == nil && subtle.ConstantTimeCompare([]byte(again), []byte(hash)) == 1
	}
	decoder, err := crypt.NewDefaultDecoder()
	if err != nil {
		return false
	}
	digest, err := decoder.Decode(hash)
	return err == nil && digest.Match(password.Reveal())
}

// knowsYescrypt reports whether the tree's libcrypt can check such a hash: the
// prefix of every method that libcrypt knows stands in its data.
func knowsYescrypt(tree *rootfs.Tree) (bool, error) {
	const most = 16 << 20
	dirs := []string{"usr/lib64", "usr/lib", "lib64", "lib"}
	if entries, err := tree.ReadDir("usr/lib"); err == nil {
		for _, e := range entries {
			if e.IsDir() && strings.Contains(e.Name(), "-linux-") { // Debian's multiarch
				dirs = append(dirs, "usr/lib/"+e.Name())
			}
		}
	}
	for _, dir := range dirs {
		for _, lib := range []string{"libcrypt.so.1", "libcrypt.so.2"} {
			data, err := tree.ReadFile(dir+"/"+lib, most)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return false, fmt.Errorf("looking at the tree's libcrypt: %w", err)
			}
			return bytes.Contains(data, []byte(yescryptPrefix)), nil
		}
	}
	return false, nil
}
