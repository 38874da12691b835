package stages

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Services gives sshd its host key and its settings and enables sshd and the
// network's units, all without running anything of the tree.
type Services struct {
	Record *store.Record
	// Image says that the tree is to be many machines': each makes host keys of
	// its own when it boots for the first time.
	Image bool
}

const (
	pathHostKey    = "etc/ssh/ssh_host_ed25519_key"
	pathSSHD       = "etc/ssh/sshd_config"
	pathSSHDDropIn = "etc/ssh/sshd_config.d/00-nspawn-build.conf"
	pathPreset     = "etc/systemd/system-preset/00-nspawn-build.preset"
	pathUnits      = "etc/systemd/system"
	includeLine    = "Include /etc/ssh/sshd_config.d/*.conf"
)

// unitDirs are where units are read from, the first that has one wins; see
// systemd.unit(5).
var unitDirs = []string{"etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

// Name is "services".
func (*Services) Name() string { return NameServices }

// wish is one file or link that is wanted in the tree.
type wish struct {
	path    string
	target  string // of a link; empty for a file
	content []byte
	mode    fs.FileMode
}

func (w wish) change() pipeline.Change {
	c := pipeline.Change{Action: "create", Subject: "/" + w.path}
	if w.target != "" {
		c.Detail = "link to " + w.target
	}
	return c
}

func (w wish) granted(tree *rootfs.Tree) (bool, error) {
	if w.target == "" {
		return sameContent(tree, w.path, w.content)
	}
	target, err := tree.Readlink(w.path)
	if err != nil {
		if _, statErr := tree.Lstat(w.path); errors.Is(statErr, fs.ErrNotExist) || statErr == nil {
			return false, nil // nothing there, or something that is no link
		}
		return false, err
	}
	// The same unit may be reached by another spelling: enabling by the
	// distribution's own tools writes /lib/systemd where we write
	// /usr/lib/systemd.
	return target == w.target || path.Base(target) == path.Base(w.target) && path.IsAbs(target) == path.IsAbs(w.target) && target != "/dev/null", nil
}

func (w wish) grant(tree *rootfs.Tree) error {
	if w.target == "" {
		return tree.WriteFile(w.path, w.content, w.mode)
	}
	return tree.Symlink(w.target, w.path)
}

// open lists the wishes that are not granted yet.
func open(tree *rootfs.Tree, wishes []wish) ([]wish, error) {
	var left []wish
	for _, w := range wishes {
		done, err := w.granted(tree)
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", w.path, err)
		}
		if !done {
			left = append(left, w)
		}
	}
	return left, nil
}

// Check lists what is missing in the tree.
func (s *Services) Check(context.Context) ([]pipeline.Change, error) {
	var changes []pipeline.Change
	err := withTree(s.Record, func(tree *rootfs.Tree) error {
		if have, err := s.hostKey(tree); (err != nil || !have) && !s.Image {
			changes = append(changes, pipeline.Change{Action: "create", Subject: "/" + pathHostKey, Detail: "ed25519"})
		}
		wishes, err := s.wishes(tree)
		if err != nil {
			return err
		}
		left, err := open(tree, wishes)
		for _, w := range left {
			changes = append(changes, w.change())
		}
		return err
	})
	if errors.Is(err, errNoTree) {
		return []pipeline.Change{
			{Action: "create", Subject: "/" + pathHostKey, Detail: "ed25519"},
			{Action: "create", Subject: "/" + pathSSHDDropIn},
			{Action: "run", Subject: "enable sshd and the network's services"},
		}, nil
	}
	return changes, err
}

// Apply makes the host key and grants every wish.
func (s *Services) Apply(context.Context) error {
	return withTree(s.Record, func(tree *rootfs.Tree) error {
		if have, err := s.hostKey(tree); err != nil {
			return err
		} else if !have && !s.Image {
			if err := s.makeHostKey(tree); err != nil {
				return fmt.Errorf("making the SSH host key: %w", err)
			}
		}
		wishes, err := s.wishes(tree)
		if err != nil {
			return err
		}
		left, err := open(tree, wishes)
		if err != nil {
			return err
		}
		for _, w := range left {
			if err := w.grant(tree); err != nil {
				return fmt.Errorf("/%s: %w", w.path, err)
			}
		}
		return nil
	})
}

// hostKey reports whether the tree has the key that is on record.
func (s *Services) hostKey(tree *rootfs.Tree) (bool, error) {
	want := s.Record.Machine().HostKey
	if want == "" {
		return false, nil
	}
	data, err := tree.ReadFile(pathHostKey, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return false, nil //nolint:nilerr // what cannot be parsed is not the key
	}
	return marshalKey(signer.PublicKey()) == want, nil
}

func marshalKey(k ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

// makeHostKey makes a key pair. The private half is only ever in the tree.
func (s *Services) makeHostKey(tree *rootfs.Tree) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	name := "root@" + s.Record.Machine().Name
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	line := marshalKey(key)
	if err := tree.WriteFile(pathHostKey, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	if err := tree.WriteFile(pathHostKey+".pub", []byte(line+" "+name+"\n"), 0o644); err != nil {
		return err
	}
	return s.Record.Update(func(m *store.Machine) { m.HostKey = line })
}

// wishes lists every file and link that the stage wants in the tree.
func (s *Services) wishes(tree *rootfs.Tree) ([]wish, error) {
	m := s.Record.Machine()
	if m.Facts == nil {
		return nil, errors.New("the record of the machine lacks what the plugin reported")
	}
	withPassword := m.Password() != spec.PasswordLocked
	login := unitfile.RootLoginKeys
	if withPassword {
		login = unitfile.RootLoginYes
	}
	sshd := unitfile.SSHD{PermitRootLogin: login, PasswordAuthentication: withPassword}
	if !s.Image {
		sshd.HostKeys = []string{"/" + pathHostKey}
	}
	dropIn, err := sshd.Render()
	if err != nil {
		return nil, err
	}
	enable := enabled(*m.Facts)
	preset, err := unitfile.Preset(enable)
	if err != nil {
		return nil, err
	}
	wishes := []wish{
		{path: pathSSHDDropIn, content: dropIn, mode: 0o644},
		{path: pathPreset, content: preset, mode: 0o644},
	}
	main, err := includesDropIns(tree)
	if err != nil {
		return nil, err
	}
	if main != nil {
		wishes = append(wishes, *main)
	}
	for _, unit := range enable {
		links, err := enableLinks(tree, unit)
		if err != nil {
			return nil, err
		}
		wishes = append(wishes, links...)
	}
	if s.Image {
		own, err := firstKeys(tree, m.Facts.SSHUnits)
		if err != nil {
			return nil, err
		}
		wishes = append(wishes, own...)
	}
	for _, unit := range m.Facts.MaskUnits {
		wishes = append(wishes, wish{path: pathUnits + "/" + unit, target: "/dev/null"})
	}
	return wishes, nil
}

func enabled(f sdk.Facts) []string {
	var units []string
	units = append(units, f.SSHUnits...)
	units = append(units, f.NetworkUnits...)
	return append(units, f.ResolverUnits...)
}

// includesDropIns returns a wish for a main configuration that reads
// sshd_config.d first, or nil where it does so already.
func includesDropIns(tree *rootfs.Tree) (*wish, error) {
	data, err := tree.ReadFile(pathSSHD, fileLimit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) > 1 && strings.EqualFold(fields[0], "include") && strings.Contains(fields[1], "sshd_config.d/") {
			return nil, nil //nolint:nilnil // nothing is wanted
		}
	}
	return &wish{path: pathSSHD, content: append([]byte(includeLine+"\n"), data...), mode: 0o644}, nil
}

// enableLinks lists the links that enabling a unit comes to.
func enableLinks(tree *rootfs.Tree, unit string) ([]wish, error) {
	var wishes []wish
	pending, seen := []string{unit}, map[string]bool{}
	for len(pending) > 0 {
		unit, pending = pending[0], pending[1:]
		if seen[unit] {
			continue
		}
		seen[unit] = true
		dir, data, err := findUnit(tree, unit)
		if err != nil {
			return nil, err
		}
		install, err := unitfile.ParseInstall(data)
		if err != nil {
			return nil, fmt.Errorf("unit %s of the tree: %w", unit, err)
		}
		links, err := unitfile.Links(unit, "/"+dir+"/"+unit, install)
		if err != nil {
			return nil, fmt.Errorf("unit %s of the tree: %w", unit, err)
		}
		for _, l := range links {
			wishes = append(wishes, wish{path: strings.TrimPrefix(l.Path, "/"), target: l.Target})
		}
		also, err := install.AlsoUnits(unit)
		if err != nil {
			return nil, fmt.Errorf("unit %s of the tree: %w", unit, err)
		}
		pending = append(pending, also...)
	}
	return wishes, nil
}

func findUnit(tree *rootfs.Tree, unit string) (dir string, data []byte, err error) {
	for _, dir := range unitDirs {
		data, err := tree.ReadFile(dir+"/"+unit, fileLimit)
		if err == nil {
			return dir, data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, fmt.Errorf("unit %s of the tree: %w", unit, err)
		}
	}
	return "", nil, fmt.Errorf("the tree has no unit %s", unit)
}
