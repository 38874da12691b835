package stages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Password sets root's password, or locks it, and lets SSH keys in.
type Password struct {
	Record *store.Record
	// Secret is the password, or its hash when the spec says so. It may be
	// empty when the password was set by an earlier run.
	Secret spec.Secret
}

const (
	pathShadow = "etc/shadow"
	pathKeys   = "root/.ssh/authorized_keys"
	locked     = "*" // no password is of this hash; see shadow(5)
	fileLimit  = 1 << 20
)

// ErrPasswordNeeded says that the password is needed again: it is kept nowhere.
var ErrPasswordNeeded = errors.New("the password is not set yet and is kept nowhere")

// Name is "password".
func (*Password) Name() string { return NamePassword }

// Check compares shadow and authorized_keys with what is wanted.
func (p *Password) Check(context.Context) ([]pipeline.Change, error) {
	m := p.Record.Machine()
	passwordChange := pipeline.Change{Action: "update", Subject: "/" + pathShadow, Detail: "root's password: " + describePassword(m.Password())}
	keysChange := pipeline.Change{Action: "create", Subject: "/" + pathKeys, Detail: fmt.Sprintf("%d SSH keys", len(m.AuthorizedKeys))}
	var changes []pipeline.Change
	err := withTree(p.Record, func(tree *rootfs.Tree) error {
		set, err := p.passwordIsSet(tree, m)
		if err != nil {
			return err
		}
		if !set {
			changes = append(changes, passwordChange)
		}
		missing, err := missingKeys(tree, m)
		if missing {
			changes = append(changes, keysChange)
		}
		return err
	})
	if errors.Is(err, errNoTree) {
		changes = nil
		if !keepsPassword(m) {
			changes = append(changes, passwordChange)
		}
		if len(m.AuthorizedKeys) > 0 && !keepsKeys(m) {
			changes = append(changes, keysChange)
		}
		return changes, nil
	}
	return changes, err
}

func describePassword(kind spec.PasswordKind) string {
	if kind == spec.PasswordLocked {
		return "locked"
	}
	return string(kind)
}

// Apply writes both files.
func (p *Password) Apply(context.Context) error {
	m := p.Record.Machine()
	return withTree(p.Record, func(tree *rootfs.Tree) error {
		set, err := p.passwordIsSet(tree, m)
		if err != nil {
			return err
		}
		if !set {
			if err := p.setPassword(tree, m.Password()); err != nil {
				return err
			}
		}
		missing, err := missingKeys(tree, m)
		if err != nil || !missing {
			return err
		}
		return writeKeys(tree, m.AuthorizedKeys)
	})
}

// missingKeys reports whether authorized_keys is not what it should be. Once
// the machine is complete, what its user wrote there is left alone.
func missingKeys(tree *rootfs.Tree, m store.Machine) (bool, error) {
	if m.Complete || keepsKeys(m) {
		return false, nil
	}
	have, err := readKeys(tree)
	return !slices.Equal(have, m.AuthorizedKeys), err
}

// keepsPassword says of a clone that its root has the password of its origin's,
// whatever that is by now.
func keepsPassword(m store.Machine) bool { return m.Clone != nil && !m.Clone.NewPassword }

// keepsKeys says the same of the keys that are let in.
func keepsKeys(m store.Machine) bool { return m.Clone != nil && !m.Clone.NewKeys }

// readKeys reads the lines of authorized_keys.
func readKeys(tree *rootfs.Tree) ([]string, error) {
	data, err := tree.ReadFile(pathKeys, fileLimit)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), nil
}

// writeKeys writes the lines of authorized_keys; none means no file.
func writeKeys(tree *rootfs.Tree, keys []string) error {
	if len(keys) == 0 {
		return tree.Remove(pathKeys)
	}
	if err := tree.MkdirAll(path.Dir(pathKeys), 0o700); err != nil {
		return err
	}
	return tree.WriteFile(pathKeys, []byte(strings.Join(keys, "\n")+"\n"), 0o600)
}

// passwordIsSet reports whether shadow says already what is wanted.
func (p *Password) passwordIsSet(tree *rootfs.Tree, m store.Machine) (bool, error) {
	if keepsPassword(m) {
		return true, nil
	}
	kind := m.Password()
	data, err := tree.ReadFile(pathShadow, fileLimit)
	if err != nil {
		return false, err
	}
	hash, ok := rootHash(data)
	open := ok && strings.HasPrefix(hash, "$")
	switch {
	case kind == spec.PasswordLocked:
		return ok && !open && hash != "", nil
	case p.Secret.Empty():
		return open, nil
	case kind == spec.PasswordHash:
		return hash == p.Secret.Reveal(), nil
	}
	return open && matches(hash, p.Secret), nil
}

func (p *Password) setPassword(tree *rootfs.Tree, kind spec.PasswordKind) error {
	hash := locked
	switch {
	case kind == spec.PasswordLocked:
	case p.Secret.Empty():
		return ErrPasswordNeeded
	case kind == spec.PasswordHash:
		hash = p.Secret.Reveal()
	default:
		modern, err := knowsYescrypt(tree)
		if err != nil {
			return err
		}
		if hash, err = hashPassword(p.Secret, modern); err != nil {
			return err
		}
	}
	data, err := tree.ReadFile(pathShadow, fileLimit)
	if err != nil {
		return err
	}
	changed, err := withRootHash(data, hash)
	if err != nil {
		return err
	}
	return tree.ReplaceFile(pathShadow, changed)
}

// rootHash returns the second field of root's line in shadow(5).
func rootHash(shadow []byte) (string, bool) {
	for line := range strings.Lines(string(shadow)) {
		if fields := strings.Split(strings.TrimSuffix(line, "\n"), ":"); fields[0] == "root" && len(fields) > 1 {
			return fields[1], true
		}
	}
	return "", false
}

// withRootHash returns shadow with another hash for root, and nothing else
// changed.
func withRootHash(shadow []byte, hash string) ([]byte, error) {
	if strings.ContainsAny(hash, ":\n\x00") {
		return nil, errors.New("the hash holds a character that is not possible in shadow(5)")
	}
	var out strings.Builder
	found := false
	for line := range strings.Lines(string(shadow)) {
		fields := strings.Split(line, ":")
		if fields[0] == "root" && len(fields) > 2 && !found {
			fields[1], found = hash, true
			line = strings.Join(fields, ":")
		}
		out.WriteString(line)
	}
	if !found {
		return nil, errors.New("the tree's /etc/shadow has no line for root")
	}
	return []byte(out.String()), nil
}

// sameContent reports whether a file of the tree has exactly content; nil means
// that there must be no file.
func sameContent(tree *rootfs.Tree, name string, content []byte) (bool, error) {
	have, err := tree.ReadFile(name, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return content == nil, nil
	}
	if err != nil {
		return false, err
	}
	return content != nil && string(have) == string(content), nil
}
