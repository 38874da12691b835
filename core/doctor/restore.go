package doctor

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/stages"
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
	left, err := p.House.Drifts(ctx, p.m)
	if err != nil || len(left) == 0 {
		return err
	}
	if err := p.House.Locked(p.m.Name, keepHostKey); err != nil {
		return err
	}
	if err := p.House.Restore(ctx, p.m.Name); err != nil {
		return err
	}
	if !slices.ContainsFunc(left, func(d machines.Drift) bool { return d.Stage != stages.NameLimits }) {
		return nil // nothing in the machine has to do with them
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
	for _, argv := range [][]string{{"sh", "-c", p.restartScript(ctx)}, {"networkctl", "reload"}} {
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
	return p.exec("sh", "-c", p.restartScript(ctx))
}

// restartScript is what that comes to inside. A socket that starts sshd is not
// opened again while sshd runs.
func (p *patient) restartScript(ctx context.Context) string {
	services, sockets := p.sshUnits(ctx)
	again := "systemctl stop " + services + "; systemctl reset-failed " + services
	if sockets != "" {
		again += " " + sockets + "; systemctl restart " + sockets
	}
	return again + "; exec systemctl start " + services
}

// sshUnits are the machine's units of sshd, and the sockets that start it
// where they are in use.
func (p *patient) sshUnits(ctx context.Context) (services, sockets string) {
	units := []string{"ssh.service"}
	if p.m.Facts != nil && len(p.m.Facts.SSHUnits) > 0 {
		units = p.m.Facts.SSHUnits
	}
	services = strings.Join(units, " ")
	said, err := ask(ctx, p.status.Leader, append([]string{"systemctl", "show", "--property=TriggeredBy", "--value"}, units...)...)
	if err != nil {
		return services, ""
	}
	var used []string
	for _, socket := range strings.Fields(said.out) {
		if !plain.MatchString(socket) || !strings.HasSuffix(socket, ".socket") || slices.Contains(units, socket) {
			continue
		}
		state, err := ask(ctx, p.status.Leader, "systemctl", "show", "--property=ActiveState", "--value", socket)
		if err == nil && strings.TrimSpace(state.out) != "inactive" {
			used = append(used, socket)
		}
	}
	return services, strings.Join(used, " ")
}
