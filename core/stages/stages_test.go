package stages

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
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
	return debianFacts, nil
}

func (b *bench) bootstrap(plugin func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error)) *Bootstrap {
	return &Bootstrap{
		Record: b.record, Files: b.files, Exclusive: b.exclusive, Tell: b.tell, Plugin: plugin,
		Cache: filepath.Join(b.dir, "cache"), Request: sdk.Request{Distro: "debian", Release: "trixie"},
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

func TestBootstrapPublishesAWholeTreeWithoutAnIdentity(t *testing.T) {
	b := newBench(t)
	mustSettle(t, b.bootstrap(fillTree))
	m := b.record.Machine()
	if m.Facts == nil || m.Tree.Staging != "" || m.Tree.Root == (rootfs.Identity{}) {
		t.Errorf("record after bootstrap: %+v", m)
	}
	if got := b.read(t, "etc/machine-id"); got != "uninitialized\n" {
		t.Errorf("machine-id is %q", got)
	}
	for _, gone := range []string{"etc/hostname", "etc/ssh/ssh_host_rsa_key", "var/lib/systemd/random-seed"} {
		if _, err := os.Lstat(filepath.Join(m.Tree.Path, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(m.Tree.Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the tree: %v, %v, want nothing", entries, err)
	}
	info, err := os.Stat(filepath.Dir(m.Tree.Path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory above has mode %v, %v, want 0700", info.Mode(), err)
	}
}

func TestBootstrapThatFailsShowsNoTreeAndIsUndoneWhole(t *testing.T) {
	b := newBench(t)
	s := b.bootstrap(func(ctx context.Context, req sdk.Request, r sdk.Reporter) (sdk.Facts, error) {
		if _, err := fillTree(ctx, req, r); err != nil {
			return sdk.Facts{}, err
		}
		return sdk.Facts{}, &sdk.Failure{Code: sdk.CodeMirror, Message: "the mirror is gone"}
	})
	var failure *sdk.Failure
	if err := s.Apply(context.Background()); !errors.As(err, &failure) {
		t.Fatalf("Apply: %v, want the plugin's failure", err)
	}
	if _, err := os.Lstat(b.record.Machine().Tree.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a half made tree is visible: %v", err)
	}
	// A systemd-nspawn that was killed leaves the file by which it locks a tree.
	lock := filepath.Join(b.dir, "containers", ".#box.lck")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // undoing twice is no error
		if err := s.Undo(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(b.dir, "containers")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("undoing left something: %v", err)
	}
}

func TestBootstrapBeginsAnewAfterACrash(t *testing.T) {
	b := newBench(t)
	crash := errors.New("power cut")
	half := b.bootstrap(func(ctx context.Context, req sdk.Request, r sdk.Reporter) (sdk.Facts, error) {
		_, err := fillTree(ctx, req, r)
		return sdk.Facts{}, errors.Join(err, crash)
	})
	if err := half.Apply(context.Background()); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	mustSettle(t, b.bootstrap(fillTree))
	entries, err := os.ReadDir(filepath.Join(b.dir, "containers"))
	if err != nil || len(entries) != 1 {
		t.Errorf("the earlier attempt is still there: %v, %v", entries, err)
	}
}

func TestBootstrapPublishedBeforeACrashIsNotMadeAgain(t *testing.T) {
	b := made(t)
	// The crash came after the rename and before the record was written.
	staging := filepath.Join(b.dir, "containers", ".nspawn-build-box-X")
	if err := os.Mkdir(staging, 0o700); err != nil {
		t.Fatal(err)
	}
	id, err := b.bootstrap(nil).identify(staging)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.record.Update(func(m *store.Machine) { m.Tree.Staging, m.Tree.StagingID = staging, id }); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, b.bootstrap(func(context.Context, sdk.Request, sdk.Reporter) (sdk.Facts, error) {
		t.Error("the plugin was called although the tree is there")
		return sdk.Facts{}, nil
	}))
}

func TestBootstrapTouchesNoTreeThatIsNotOurs(t *testing.T) {
	b := newBench(t)
	path := b.record.Machine().Tree.Path
	if err := errors.Join(os.MkdirAll(path, 0o700), os.WriteFile(filepath.Join(path, "theirs"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s := b.bootstrap(fillTree)
	if _, err := s.Check(context.Background()); !errors.Is(err, hostfile.ErrForeign) {
		t.Errorf("Check: %v, want ErrForeign", err)
	}
	if err := s.Apply(context.Background()); err == nil {
		t.Error("Apply took the place of a tree that is not ours")
	}
	if err := s.Undo(context.Background()); err != nil {
		t.Errorf("Undo: %v", err)
	}
	if _, err := os.Stat(filepath.Join(path, "theirs")); err != nil {
		t.Errorf("their file: %v", err)
	}
}

func TestTreeThatWasReplacedIsNeitherUsedNorRemoved(t *testing.T) {
	b := made(t)
	path := b.record.Machine().Tree.Path
	if err := errors.Join(os.Rename(path, path+".old"), os.Mkdir(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := openTree(b.record); !errors.Is(err, hostfile.ErrForeign) {
		t.Errorf("openTree: %v, want ErrForeign", err)
	}
	if err := b.bootstrap(fillTree).Undo(context.Background()); err == nil {
		t.Error("Undo removed a directory that we did not make")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the directory that took its place: %v", err)
	}
}

func TestFactsCannotNameAnythingButUnits(t *testing.T) {
	for _, unit := range []string{"../../etc/passwd", "/etc/x.service", "a b.service", "", "x", "a\n.service", ".service"} {
		f := debianFacts
		f.SSHUnits = []string{unit}
		if checkFacts(f) == nil {
			t.Errorf("a unit named %q was taken", unit)
		}
	}
	if err := checkFacts(debianFacts); err != nil {
		t.Error(err)
	}
	if checkFacts(sdk.Facts{}) == nil {
		t.Error("facts without a unit for sshd were taken")
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
