package doctor

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

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
	p.status = status
	units := p.sshUnits(ctx)
	for _, argv := range [][]string{
		append([]string{"systemctl", "reset-failed"}, units...),
		append([]string{"systemctl", "try-restart"}, units...),
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

// restartSSH is the command that restarts a machine's sshd, however often it
// failed to start.
func (p *patient) restartSSH(ctx context.Context) string {
	units := strings.Join(p.sshUnits(ctx), " ")
	return p.exec("sh", "-c", "systemctl reset-failed "+units+"; exec systemctl restart "+units)
}

// sshUnits are the machine's units of sshd, to be restarted together: the
// sockets that start it too, where they are in use.
func (p *patient) sshUnits(ctx context.Context) []string {
	services := []string{"ssh.service"}
	if p.m.Facts != nil && len(p.m.Facts.SSHUnits) > 0 {
		services = slices.Clone(p.m.Facts.SSHUnits)
	}
	said, err := ask(ctx, p.status.Leader, append([]string{"systemctl", "show", "--property=TriggeredBy", "--value"}, services...)...)
	if err != nil {
		return services
	}
	units := services
	for _, socket := range strings.Fields(said.out) {
		if !plain.MatchString(socket) || !strings.HasSuffix(socket, ".socket") || slices.Contains(units, socket) {
			continue
		}
		state, err := ask(ctx, p.status.Leader, "systemctl", "show", "--property=ActiveState", "--value", socket)
		if err == nil && strings.TrimSpace(state.out) != "inactive" {
			units = append(units, socket)
		}
	}
	return units
}
