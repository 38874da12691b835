package stages

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

const userKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7q0W0l1pmdGPcG6dHmyTRMxQ6W7kz8vVNzQ0S7yTfR user@example.org"

// bench is a directory with everything that the stages of one machine need.
type bench struct {
	dir    string
	store  *store.Store
	files  *hostfile.Files
	record *store.Record
	events []pipeline.Event
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{dir: dir, store: &store.Store{StateDir: filepath.Join(dir, "state"), RuntimeDir: filepath.Join(dir, "run")}}
	b.files = &hostfile.Files{Made: filepath.Join(dir, "state", "directories.json")}
	b.record = b.store.NewRecord(store.Machine{
		Name: "box", Address: netip.MustParsePrefix("192.168.200.200/24"), HostSide: netip.MustParsePrefix("192.168.200.1/24"),
		DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, AuthorizedKeys: []string{userKey},
		Tree: store.Tree{Path: filepath.Join(dir, "containers", "box")},
	})
	if err := b.record.Update(func(*store.Machine) {}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) exclusive(_ context.Context, f func() error) error { return f() }

func (b *bench) tell(e pipeline.Event) { b.events = append(b.events, e) }

var debianFacts = sdk.Facts{
	OSRelease: map[string]string{"ID": "debian"}, SSHUnits: []string{"ssh.service"},
	NetworkUnits: []string{"systemd-networkd.service"}, ResolverUnits: []string{"systemd-resolved.service"},
}

// fillTree is a plugin that makes as much of a tree as the stages look at.
func fillTree(_ context.Context, req sdk.Request, _ sdk.Reporter) (sdk.Facts, error) {
	for name, content := range map[string]string{
		"etc/shadow":                     "root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n",
		"etc/machine-id":                 "0123456789abcdef0123456789abcdef\n",
		"etc/hostname":                   "buildhost\n",
		"etc/ssh/sshd_config":            "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
		"etc/ssh/ssh_host_rsa_key":       "baked in",
		"var/lib/systemd/random-seed":    "seed",
		"usr/lib/libcrypt.so.1":          "$y$",
		"usr/lib/os-release":             "ID=debian\n",
		"usr/lib/systemd/system/x.timer": "[Timer]\n",
		"usr/lib/systemd/system/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd -D\n" +
			"[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n",
		"usr/lib/systemd/system/systemd-networkd.service": "[Service]\nExecStart=/x\n" +
			"[Install]\nWantedBy=multi-user.target\nAlso=systemd-networkd.socket\nAlias=dbus-org.freedesktop.network1.service\n",
		"usr/lib/systemd/system/systemd-networkd.socket":  "[Socket]\n[Install]\nWantedBy=sockets.target\n",
		"usr/lib/systemd/system/systemd-resolved.service": "[Service]\nExecStart=/x\n[Install]\nWantedBy=sysinit.target\n",
	} {
		path := filepath.Join(req.Target, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			return sdk.Facts{}, err
		}
	}
	return debianFacts, os.WriteFile(filepath.Join(req.Target, "usr/lib/systemd/systemd"), nil, 0o755)
}

func (b *bench) bootstrap(plugin func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error)) *Bootstrap {
	return &Bootstrap{
		Record: b.record, Files: b.files, Exclusive: b.exclusive, Tell: b.tell,
		Origin: &FromPlugin{
			Run: plugin, Cache: filepath.Join(b.dir, "cache"), Request: sdk.Request{Distro: "debian", Release: "trixie"}, Tell: b.tell,
		},
	}
}

// made returns a bench whose tree is bootstrapped.
func made(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	if err := b.bootstrap(fillTree).Apply(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.record.Machine().Tree.Path, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// mustSettle applies a stage and makes sure that nothing is left to change.
func mustSettle(t *testing.T, s pipeline.Stage) {
	t.Helper()
	changes, err := s.Check(context.Background())
	if err != nil || len(changes) == 0 {
		t.Fatalf("%s: Check before = %v, %v, want changes", s.Name(), changes, err)
	}
	if err := s.Apply(context.Background()); err != nil {
		t.Fatalf("%s: Apply: %v", s.Name(), err)
	}
	if changes, err := s.Check(context.Background()); err != nil || len(changes) > 0 {
		t.Errorf("%s: Check after = %v, %v, want nothing", s.Name(), changes, err)
	}
}

func TestPasswordIsSetForRootAndNobodyElse(t *testing.T) {
	b := made(t)
	if err := b.record.Update(func(m *store.Machine) { m.Spec.Access.Password = spec.PasswordGiven }); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, &Password{Record: b.record, Secret: spec.NewSecret("hunter2")})
	shadow := b.read(t, "etc/shadow")
	hash, _ := rootHash([]byte(shadow))
	if !matches(hash, spec.NewSecret("hunter2")) || !strings.HasPrefix(hash, "$y$") {
		t.Errorf("root's hash is %q", hash)
	}
	if !strings.HasSuffix(shadow, ":20000:0:99999:7:::\nsshd:!:20000::::::\n") {
		t.Errorf("the rest of shadow changed: %q", shadow)
	}
	if got := b.read(t, pathKeys); got != userKey+"\n" {
		t.Errorf("authorized_keys holds %q", got)
	}
	// A later run that does not know the password leaves it.
	if changes, err := (&Password{Record: b.record}).Check(context.Background()); err != nil || len(changes) > 0 {
		t.Errorf("Check without the password: %v, %v", changes, err)
	}
}

func TestPasswordOfAnInterruptedRunIsAskedForAgain(t *testing.T) {
	b := made(t)
	if err := b.record.Update(func(m *store.Machine) { m.Spec.Access.Password = spec.PasswordGiven }); err != nil {
		t.Fatal(err)
	}
	if err := (&Password{Record: b.record}).Apply(context.Background()); !errors.Is(err, ErrPasswordNeeded) {
		t.Errorf("Apply: %v, want ErrPasswordNeeded", err)
	}
}

func TestEmptyPasswordOfATreeIsLocked(t *testing.T) {
	b := made(t)
	put(t, treeAt(t, b.record.Machine().Tree.Path), pathShadow, "root::20000::::::\n")
	mustSettle(t, &Password{Record: b.record})
	if hash, _ := rootHash([]byte(b.read(t, pathShadow))); hash != locked {
		t.Errorf("root's hash is %q, want it locked", hash)
	}
}

func TestHashThatWouldBreakShadowIsRefused(t *testing.T) {
	for _, h := range []string{"a:b", "a\nroot::", "a\x00"} {
		if _, err := withRootHash([]byte("root:*:::::::\n"), h); err == nil {
			t.Errorf("%q was taken", h)
		}
	}
	if _, err := withRootHash([]byte("daemon:*:::::::\n"), "x"); err == nil {
		t.Error("a shadow without root was taken")
	}
}

func TestServicesAreEnabledAndTheHostKeyIsOurs(t *testing.T) {
	b := made(t)
	mustSettle(t, &Services{Record: b.record})
	tree := b.record.Machine().Tree.Path
	for link, target := range map[string]string{
		"multi-user.target.wants/ssh.service":              "/usr/lib/systemd/system/ssh.service",
		"sshd.service":                                     "/usr/lib/systemd/system/ssh.service",
		"multi-user.target.wants/systemd-networkd.service": "/usr/lib/systemd/system/systemd-networkd.service",
		"sockets.target.wants/systemd-networkd.socket":     "/usr/lib/systemd/system/systemd-networkd.socket",
		"dbus-org.freedesktop.network1.service":            "/usr/lib/systemd/system/systemd-networkd.service",
		"sysinit.target.wants/systemd-resolved.service":    "/usr/lib/systemd/system/systemd-resolved.service",
	} {
		if got, err := os.Readlink(filepath.Join(tree, pathUnits, link)); err != nil || got != target {
			t.Errorf("%s -> %q, %v, want %q", link, got, err, target)
		}
	}
	if key := b.record.Machine().HostKey; !strings.HasPrefix(b.read(t, pathHostKey+".pub"), key+" ") || key == "" {
		t.Errorf("host key on record %q is not the tree's", key)
	}
	info, err := os.Stat(filepath.Join(tree, pathHostKey))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private host key has mode %v, %v", info.Mode(), err)
	}
	if c := b.read(t, pathSSHDDropIn); !strings.Contains(c, "PermitRootLogin prohibit-password") {
		t.Errorf("sshd's drop-in:\n%s", c)
	}
}

func TestSSHDIsMadeToReadItsDropIns(t *testing.T) {
	b := made(t)
	put(t, treeAt(t, b.record.Machine().Tree.Path), pathSSHD, "# Include in a comment does not count\nUsePAM yes\n")
	mustSettle(t, &Services{Record: b.record})
	if got := b.read(t, pathSSHD); !strings.HasPrefix(got, includeLine+"\n# Include in") {
		t.Errorf("sshd_config:\n%s", got)
	}
}

func TestUnitThatTheTreeLacksIsNamed(t *testing.T) {
	b := made(t)
	if err := b.record.Update(func(m *store.Machine) {
		f := debianFacts
		f.SSHUnits = []string{"sshd-missing.service"}
		m.Facts = &f
	}); err != nil {
		t.Fatal(err)
	}
	err := (&Services{Record: b.record}).Apply(context.Background())
	if err == nil || !strings.Contains(err.Error(), "sshd-missing.service") {
		t.Errorf("Apply: %v, want the unit named", err)
	}
}

func TestProbeKeysComeAndGoAndLeaveTheUsersKeys(t *testing.T) {
	b := made(t)
	tree := treeAt(t, b.record.Machine().Tree.Path)
	if err := writeKeys(tree, []string{userKey, "# a comment of the user"}); err != nil {
		t.Fatal(err)
	}
	before := b.read(t, pathKeys)
	for range 2 { // the first one is left behind as by a crash
		probe, err := newProbeKey("192.168.200.1")
		if err != nil {
			t.Fatal(err)
		}
		if err := probe.letIn(tree); err != nil {
			t.Fatal(err)
		}
		keys, err := readKeys(tree)
		if err != nil || len(keys) != 3 || keys[2] != probe.line {
			t.Fatalf("keys while probing: %q, %v", keys, err)
		}
	}
	if err := shutOut(tree); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, b.read(t, pathKeys)); diff != "" {
		t.Errorf("authorized_keys (-before +after):\n%s", diff)
	}
}

func TestHostsFileKnowsTheMachineByName(t *testing.T) {
	if got := string(hostsFile("box.lab")); !strings.Contains(got, "127.0.1.1 box.lab box\n") {
		t.Errorf("hosts:\n%s", got)
	}
}

func TestDNSIsResolvedByItsMode(t *testing.T) {
	uplink, stub, named := netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.168.200.1"), netip.MustParseAddr("9.9.9.9")
	for _, tt := range []struct {
		dns  spec.DNS
		want netip.Addr
	}{
		{spec.DNS{Mode: spec.DNSAuto}, uplink},
		{spec.DNS{Mode: spec.DNSHost}, stub},
		{spec.DNS{Mode: spec.DNSServers, Servers: []netip.Addr{named}}, named},
	} {
		got, err := ResolveDNS(tt.dns, []netip.Addr{uplink}, stub)
		if err != nil || len(got) != 1 || got[0] != tt.want {
			t.Errorf("ResolveDNS(%v) = %v, %v, want %v", tt.dns.Mode, got, err, tt.want)
		}
	}
	if _, err := ResolveDNS(spec.DNS{Mode: spec.DNSAuto}, nil, stub); !errors.Is(err, ErrNoUplink) {
		t.Errorf("without uplinks: %v, want ErrNoUplink", err)
	}
}

func TestOnlyFilesOfSetPropertyAreTakenForThem(t *testing.T) {
	for content, want := range map[string]bool{
		"# This is a drop-in unit file extension, created via \"systemctl set-property\"\n# or an equivalent operation. Do not edit.\n[Service]\nMemoryMax=1\n": true,
		"[Service]\nMemoryMax=1\n": false,
		"# mine\n# This is a drop-in unit file extension, created via \"systemctl set-property\"\n": false,
		"": false,
	} {
		if setProperty([]byte(content)) != want {
			t.Errorf("%q: %t", content, !want)
		}
	}
}
