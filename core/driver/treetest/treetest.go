//go:build integration

// Package treetest makes the machine's tree that integration tests boot: a
// small Debian with networkd and sshd, whose keys and passwords the test knows.
//
// It is for tests only and makes one tree, in a temporary directory of its
// own.
package treetest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// Variable names a directory that holds a ready tree, to be copied. Without
// it the tree is the one of testhost's cache, from the host's own apt sources.
const Variable = "NSPAWN_BUILD_TEST_TREE"

// Tree is a machine's tree.
type Tree struct {
	Path     string
	HostKey  ssh.PublicKey
	UserKey  ssh.Signer
	Password string
}

// Need ends the test where a program or root is missing.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = p
		}
	}
	if missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", missing)
	}
	t.Skipf("needs %s", missing)
}

const inNamespace = "NSPAWN_BUILD_TEST_NAMESPACE"

// Main runs the tests of a binary in network and mount namespaces of their
// own, with no route out, and removes the shared tree afterwards.
func Main(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run()
	}
	if os.Getenv(inNamespace) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintln(os.Stderr, string(out), err) // what needs it fails
		}
		code := m.Run()
		if err := os.RemoveAll(sharedDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}
	base, remove, err := unpacked()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1", Variable+"="+base)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// unpacked makes the tree that Shared copies, out here where the mirror can be
// reached. The path is empty where the tool for it is missing: then the tests
// that need a tree say so.
func unpacked() (dir string, remove func(), err error) {
	remove = func() {}
	if dir = os.Getenv(Variable); dir != "" {
		return dir, remove, nil
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return "", remove, nil //nolint:nilerr // Shared says it in the test
		}
	}
	tarball, err := testhost.MachineTarball(context.Background(), "trixie")
	if err != nil {
		return "", remove, err
	}
	dir, err = os.MkdirTemp("", "tree") // 0700
	if err != nil {
		return "", remove, err
	}
	remove = func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	tree := filepath.Join(dir, "base")
	if err = os.Mkdir(tree, 0o755); err != nil {
		return "", remove, err
	}
	out, err := exec.Command("tar", "--zstd", "--numeric-owner", "--xattrs", "-C", tree, "-xpf", tarball).CombinedOutput()
	if err != nil {
		return "", remove, fmt.Errorf("unpack %s: %w: %s", tarball, err, out)
	}
	return tree, remove, nil
}

// tools are what the tree is made with.
var tools = []string{"mmdebstrap", "tar", "zstd"}

var (
	sharedDir  string
	sharedTree Tree
)

// Shared makes the tree that all tests of the binary boot in turn, with the
// given address on host0. What a test changes it must change back.
func Shared(t testing.TB, address netip.Prefix) Tree {
	t.Helper()
	if sharedTree.Path != "" {
		return sharedTree
	}
	if sharedDir == "" {
		dir, err := os.MkdirTemp("", "tree") // 0700
		if err != nil {
			t.Fatal(err)
		}
		sharedDir = dir
	}
	dir := filepath.Join(sharedDir, "tree")
	Need(t, tools...)
	Run(t, "cp", "-a", "--reflink=auto", os.Getenv(Variable), dir)
	tree := Tree{Path: dir, Password: "correct horse"}
	tree.configure(t, address)
	sharedTree = tree
	return tree
}

// Service adds an enabled service for the time of the test.
func (tree *Tree) Service(t testing.TB, name, text string) {
	t.Helper()
	unit := "etc/systemd/system/" + name + ".service"
	tree.Write(t, unit, text, 0o644)
	Run(t, "systemctl", "--root="+tree.Path, "--quiet", "enable", name+".service")
	t.Cleanup(func() {
		Run(t, "systemctl", "--root="+tree.Path, "--quiet", "disable", name+".service")
		if err := os.Remove(filepath.Join(tree.Path, unit)); err != nil {
			t.Error(err)
		}
	})
}

func (tree *Tree) configure(t testing.TB, address netip.Prefix) {
	t.Helper()
	hostKey, hostPEM := key(t)
	tree.HostKey = hostKey.PublicKey()
	tree.UserKey, _ = key(t)
	for _, old := range []string{"ecdsa", "rsa"} {
		_ = os.Remove(filepath.Join(tree.Path, "etc/ssh/ssh_host_"+old+"_key")) // need not exist
	}
	tree.Write(t, "etc/ssh/ssh_host_ed25519_key", string(hostPEM), 0o600)
	tree.Write(t, "etc/ssh/ssh_host_ed25519_key.pub", string(ssh.MarshalAuthorizedKey(tree.HostKey)), 0o644)
	tree.Write(t, "root/.ssh/authorized_keys", string(ssh.MarshalAuthorizedKey(tree.UserKey.PublicKey())), 0o600)
	tree.Write(t, "etc/ssh/sshd_config.d/00-test.conf", "PermitRootLogin yes\n", 0o644)
	tree.Write(t, "etc/systemd/network/10-host0.network",
		"[Match]\nName=host0\n[Network]\nAddress="+address.String()+"\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n", 0o644)
	tree.Write(t, "etc/machine-id", "uninitialized\n", 0o444)
	tree.Write(t, "etc/hostname", "machine\n", 0o644)
	tree.Write(t, "etc/hosts", "127.0.0.1 localhost machine\n"+address.Addr().String()+" inside.test\n", 0o644)
	Run(t, "systemctl", "--root="+tree.Path, "--quiet", "enable", "systemd-networkd", "ssh.service")
	Run(t, "systemctl", "--root="+tree.Path, "--quiet", "mask", "systemd-networkd-wait-online.service")
	tree.setPassword(t)
}

func (tree *Tree) setPassword(t testing.TB) {
	t.Helper()
	hasher, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithIterations(5000))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := hasher.Hash(tree.Password)
	if err != nil {
		t.Fatal(err)
	}
	shadow, err := os.ReadFile(filepath.Join(tree.Path, "etc/shadow"))
	if err != nil {
		t.Fatal(err)
	}
	root := regexp.MustCompile("(?m)^root:[^:]*:")
	tree.Write(t, "etc/shadow", root.ReplaceAllString(string(shadow), "root:"+strings.ReplaceAll(digest.Encode(), "$", "$$")+":"), 0o600)
}

// Write writes a file of the tree. The tree is ours and led nowhere yet.
func (tree *Tree) Write(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(tree.Path, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(name) == "root/.ssh" {
		if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// Run runs a program that must succeed.
func Run(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

func key(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}
