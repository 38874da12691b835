package doctor

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/store"
)

const (
	hostKeyPath  = "etc/ssh/ssh_host_ed25519_key"
	replacedPath = hostKeyPath + ".replaced" // which sshd does not look at
	keyLimit     = 1 << 16
)

// restore puts back what is ours, and has what runs take notice.
func (p *patient) restore(ctx context.Context) error {
	// One run puts everything back: the findings after the first come to nothing.
	if left, err := p.House.Drifts(ctx, p.m); err != nil || len(left) == 0 {
		return err
	}
	if err := p.House.Locked(p.m.Name, keepHostKey); err != nil {
		return err
	}
	if err := p.House.Restore(ctx, p.m.Name); err != nil {
		return err
	}
	d, err := p.House.Driver(p.m.Driver)
	if err != nil {
		return err
	}
	status, err := d.Status(ctx, p.m.Name)
	if err != nil || status.State != driver.Running {
		return err
	}
	for _, argv := range [][]string{
		append([]string{"systemctl", "try-restart"}, p.sshUnits()...),
		{"networkctl", "reload"},
	} {
		if _, err := ask(ctx, status.Leader, argv...); err != nil {
			return err
		}
	}
	return nil
}

// keepHostKey puts a host key aside that is not the one on record, before a new
// one is made in its place.
func keepHostKey(m store.Machine) (err error) {
	tree, err := rootfs.Open(m.Tree.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	if identity, err := tree.Identity(); err != nil || identity != m.Tree.Root {
		return errors.Join(err, rootfs.ErrNotOurs)
	}
	data, err := tree.ReadFile(hostKeyPath, keyLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if signer, err := ssh.ParsePrivateKey(data); err == nil {
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(m.HostKey)); err == nil && string(key.Marshal()) == string(signer.PublicKey().Marshal()) {
			return nil
		}
	}
	return tree.WriteFile(replacedPath, data, 0o600)
}

// sshUnits are the machine's units of sshd.
func (p *patient) sshUnits() []string {
	if p.m.Facts == nil || len(p.m.Facts.SSHUnits) == 0 {
		return []string{"ssh.service"}
	}
	return p.m.Facts.SSHUnits
}
