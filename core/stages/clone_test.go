package stages

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// cloneOf is a bench for a clone of the machine of another one.
func cloneOf(t *testing.T, origin *bench, clone store.Clone) (*bench, *Bootstrap, *int) {
	t.Helper()
	b := newBench(t)
	m := origin.record.Machine()
	if err := b.record.Update(func(c *store.Machine) {
		c.Name, c.Clone = "twin", &clone
		c.Tree.Path = filepath.Join(filepath.Dir(m.Tree.Path), "twin")
	}); err != nil {
		t.Fatal(err)
	}
	done := 0
	return b, &Bootstrap{
		Record: b.record, Files: b.files, Exclusive: b.exclusive, Tell: b.tell,
		Origin: &FromClone{Origin: m, Done: func() error { done++; return nil }, Tell: b.tell},
	}, &done
}

// lived is a bench whose machine has run.
func lived(t *testing.T) *bench {
	t.Helper()
	b := made(t)
	root := b.record.Machine().Tree.Path
	for name, content := range map[string]string{
		"etc/machine-id":                             "0123456789abcdef0123456789abcdef\n",
		"etc/hosts":                                  "127.0.0.1 localhost\n127.0.1.1\tbox.lab  box # box is here\n192.0.2.7 boxer box\n",
		"etc/ssh/ssh_host_ed25519_key":               "the origin's",
		"var/lib/dbus/machine-id":                    "0123456789abcdef0123456789abcdef\n",
		"var/lib/systemd/random-seed":                "the origin's",
		"var/lib/systemd/credential.secret":          "the origin's",
		"var/lib/systemd/timesync/clock":             "kept",
		"var/log/journal/0123/system.journal":        "the origin's",
		"var/log/dpkg.log":                           "kept",
		"var/lib/dhcp/dhclient.host0.leases":         "the origin's",
		"var/lib/NetworkManager/x.lease":             "the origin's",
		"var/lib/NetworkManager/NetworkManager.conf": "kept",
		"etc/pacman.d/gnupg/private-keys-v1.d/a.key": "the origin's",
		"etc/pacman.d/gnupg/pubring.gpg":             "kept",
		"root/.ssh/authorized_keys":                  userKey + "\nssh-ed25519 AAAA x " + probeComment + "\n",
		"root/notes":                                 "kept",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestACloneHasWhatItsOriginHadButForItsIdentity(t *testing.T) {
	origin := lived(t)
	b, s, done := cloneOf(t, origin, store.Clone{Of: "box"})
	mustSettle(t, s)
	if *done != 1 {
		t.Errorf("the origin was let go %d times", *done)
	}
	if m := b.record.Machine(); m.Facts == nil || m.Clone.Way == "" || m.Tree.Staging != "" || m.Tree.Root == origin.record.Machine().Tree.Root {
		t.Errorf("record: %+v", m)
	}
	if id := b.read(t, "etc/machine-id"); !regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\n$`).MatchString(id) {
		t.Errorf("machine-id is %q", id)
	}
	if hosts := b.read(t, "etc/hosts"); hosts != "127.0.0.1 localhost\n127.0.1.1\tbox.lab  twin # box is here\n192.0.2.7 boxer twin\n" {
		t.Errorf("hosts:\n%s", hosts)
	}
	if keys := b.read(t, "root/.ssh/authorized_keys"); keys != userKey+"\n" {
		t.Errorf("keys:\n%s", keys)
	}
	err := filepath.WalkDir(b.record.Machine().Tree.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "the origin's") {
			t.Errorf("%s is of the origin", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"root/notes", "var/lib/systemd/timesync/clock", "var/log/dpkg.log", "etc/pacman.d/gnupg/pubring.gpg", "var/lib/NetworkManager/NetworkManager.conf"} {
		if got := b.read(t, name); got != "kept" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := origin.read(t, "var/lib/systemd/random-seed"); got != "the origin's" {
		t.Errorf("the origin has lost its own: %q", got)
	}
}

func TestACloneOfAMachineThatNeverBootedHasItsFirstBootBeforeIt(t *testing.T) {
	b, s, _ := cloneOf(t, made(t), store.Clone{Of: "box"})
	mustSettle(t, s)
	if id := b.read(t, "etc/machine-id"); id != firstBoot {
		t.Errorf("machine-id is %q", id)
	}
	if hosts := b.read(t, "etc/hosts"); hosts != string(hostsFile("twin")) {
		t.Errorf("hosts:\n%s", hosts)
	}
}

func TestWhoIsLetIntoACloneIsAsInItsOriginUnlessItIsSaid(t *testing.T) {
	const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPD2mJ2c2Wv4m9E9fDn0GfyFQ3zq1i2x5bS8aE1Lq3hT other@example.org"
	origin := lived(t)
	for _, c := range []struct {
		clone store.Clone
		keys  []string
	}{{store.Clone{Of: "box"}, []string{userKey}}, {store.Clone{Of: "box", NewKeys: true, NewPassword: true}, []string{other}}} {
		b, s, _ := cloneOf(t, origin, c.clone)
		if err := b.record.Update(func(m *store.Machine) {
			m.AuthorizedKeys = []string{other}
			m.Spec.Access.Password = spec.PasswordHash
		}); err != nil {
			t.Fatal(err)
		}
		hash := spec.NewSecret("$6$abcdefgh$0123456789abcdef")
		p := &Password{Record: b.record, Secret: hash}
		planned, err := p.Check(context.Background())
		if err != nil || (len(planned) > 0) != c.clone.NewKeys {
			t.Errorf("%+v: a plan of %v, %v", c.clone, planned, err)
		}
		mustSettle(t, s)
		if err := p.Apply(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(strings.TrimSpace(b.read(t, pathKeys)), "\n"); !slices.Equal(got, c.keys) {
			t.Errorf("%+v: keys %q", c.clone, got)
		}
		if got := strings.Contains(b.read(t, pathShadow), hash.Reveal()); got != c.clone.NewPassword {
			t.Errorf("%+v: the password was set: %v", c.clone, got)
		}
		if err := s.Undo(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnOriginInUseIsHeldStillForTheCopyAndNoLonger(t *testing.T) {
	origin := lived(t)
	b, s, done := cloneOf(t, origin, store.Clone{Of: "box"})
	from, ok := s.Origin.(*FromClone)
	if !ok {
		t.Fatal("it comes from elsewhere")
	}
	from.InUse = true
	tree, err := TreeOf(origin.record.Machine())
	if err != nil {
		t.Fatal(err)
	}
	if tree.Snapshots(b.dir) {
		t.Skip("here a snapshot is made")
	}
	if err := s.Apply(context.Background()); !errors.Is(err, rootfs.ErrInUse) || *done != 1 {
		t.Fatalf("Apply: %v, want ErrInUse; let go %d times", err, *done)
	}
	var order []string
	from.HoldStill = func(context.Context) (func() error, error) {
		order = append(order, "hold")
		return func() error { order = append(order, "release"); return nil }, nil
	}
	from.Done = func() error { order = append(order, "done"); return nil }
	mustSettle(t, s)
	if want := []string{"hold", "release", "done"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	broken := errors.New("it does not hold still")
	from.HoldStill = func(context.Context) (func() error, error) { return nil, broken }
	if err := s.Undo(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(context.Background()); !errors.Is(err, broken) {
		t.Errorf("Apply: %v", err)
	}
}

func TestALinkInPlaceOfWhatIsTheOriginsLeadsNowhere(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "0123")
	if err := os.WriteFile(victim, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(memories, []string{"etc/ssh", "var/lib/systemd", "etc/pacman.d/gnupg/private-keys-v1.d", "root/.ssh"}) {
		origin := lived(t)
		path := filepath.Join(origin.record.Machine().Tree.Path, name)
		if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(outside, path)); err != nil {
			t.Fatal(err)
		}
		_, s, _ := cloneOf(t, origin, store.Clone{Of: "box"})
		_ = s.Apply(context.Background()) // it may refuse
		if data, err := os.ReadFile(victim); err != nil || string(data) != "of the host" {
			t.Fatalf("%s led out: %q, %v", name, data, err)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
			t.Fatalf("%s led out: %v, %v", name, left, err)
		}
	}
}

// A clone's own end of the link replaces that of its origin.
func TestACloneHasANetworkOfItsOwn(t *testing.T) {
	b, s, _ := cloneOf(t, lived(t), store.Clone{Of: "box"})
	mustSettle(t, s)
	if err := b.record.Update(func(m *store.Machine) {
		m.Address, m.HostSide = netip.MustParsePrefix("192.168.201.200/24"), netip.MustParsePrefix("192.168.201.1/24")
	}); err != nil {
		t.Fatal(err)
	}
	n := &Network{Record: b.record, Files: b.files, Exclusive: b.exclusive}
	wishes, err := n.wishes()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wishes {
		if w.path == pathHosts {
			t.Error("the hosts file that came with the tree would be lost")
		}
		if w.path == pathMachineNetwork && !strings.Contains(string(w.content), "192.168.201.200/24") {
			t.Errorf("%s:\n%s", w.path, w.content)
		}
	}
}
