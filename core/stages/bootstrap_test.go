package stages

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

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
	if _, err := OpenTree(b.record); !errors.Is(err, hostfile.ErrForeign) {
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

func TestATreeThatIsNotWhatWasReportedIsThePluginsFault(t *testing.T) {
	for says, spoil := range map[string]func(root string, f *sdk.Facts) error{
		"the tree has no os-release": func(root string, _ *sdk.Facts) error { return os.Remove(filepath.Join(root, "usr/lib/os-release")) },
		"is a program": func(root string, _ *sdk.Facts) error {
			return os.Remove(filepath.Join(root, "usr/lib/systemd/systemd"))
		},
		"no unit missing.service": func(_ string, f *sdk.Facts) error { f.SSHUnits = []string{"missing.service"}; return nil },
		"network_units":           func(_ string, f *sdk.Facts) error { f.NetworkUnits = nil; return nil },
	} {
		b := newBench(t)
		err := b.bootstrap(func(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
			facts, err := fillTree(ctx, req, to)
			return facts, errors.Join(err, spoil(req.Target, &facts))
		}).Apply(t.Context())
		if !errors.Is(err, sdk.ErrProtocol) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v", says, err)
		}
	}
}
