package misbehave

import (
	"os"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// trees are modes that make something else than they should.
var trees = []Mode{
	{
		Name: "empty", Breaks: []string{
			sdk.RuleFactsOSRelease, sdk.RuleFactsSSH, sdk.RuleFactsNetwork, "facts-packages", sdk.RuleTreeInit, "tree-sshd",
		}, Exit: exitBootstrap, Says: "the tree has no os-release",
		tree: func(root string, f *sdk.Facts) error {
			*f = sdk.Facts{}
			entries, err := os.ReadDir(root)
			for _, e := range entries {
				err = os.RemoveAll(filepath.Join(root, e.Name()))
			}
			return err
		},
	},
	{
		Name: "wrong-release", Breaks: []string{sdk.RuleFactsOSRelease}, Exit: exitBootstrap, Says: `VERSION_ID is "1" in the tree and "2" in the facts`,
		tree: func(_ string, f *sdk.Facts) error { f.OSRelease["VERSION_ID"] = "2"; return nil },
	},
	{
		Name: "no-init", Breaks: []string{sdk.RuleTreeInit}, Exit: exitBootstrap, Says: "neither /sbin/init nor /usr/lib/systemd/systemd is a program",
		tree: without("usr/lib/systemd/systemd"),
	},
	{Name: "no-sshd", Breaks: []string{"tree-sshd"}, tree: without("usr/sbin/sshd")},
	{
		Name: "no-ssh-units", Breaks: []string{sdk.RuleFactsSSH}, Exit: exitBootstrap, Says: "no unit for sshd",
		tree: func(_ string, f *sdk.Facts) error { f.SSHUnits = nil; return nil },
	},
	{
		Name: "no-network-units", Breaks: []string{sdk.RuleFactsNetwork}, Exit: exitBootstrap, Says: "network_units",
		tree: func(_ string, f *sdk.Facts) error { f.NetworkUnits = nil; return nil },
	},
	{
		Name: "phantom-unit", Breaks: []string{sdk.RuleFactsUnits}, Exit: exitBootstrap, Says: "the tree has no unit sshd.service",
		tree: without("usr/lib/systemd/system/sshd.service"),
	},
	{
		Name: "identity", Breaks: []string{"tree-identity"}, tree: with(
			file{"etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444},
			file{"etc/ssh/ssh_host_ed25519_key", "a key\n", 0o600}),
	},
	{
		Name: "secret", Breaks: []string{"tree-secrets"}, tree: with(
			file{"etc/shadow", "root:$6$salt$hash:20000:0:99999:7:::\n", 0o600},
			file{"root/.ssh/authorized_keys", "ssh-ed25519 AAAA\n", 0o600}),
	},
	{
		Name: "owner", Breaks: []string{"tree-owners"},
		tree: func(root string, _ *sdk.Facts) error { return os.Chown(filepath.Join(root, "usr/sbin/sshd"), 4242, 0) },
	},
	{Name: "untidy", Breaks: []string{"tree-tidy"}, tree: with(file{"tmp/\x1b[2Jleft", "", 0o600})},
	{
		Name: "talkative", Breaks: []string{"tree-host-paths"},
		tree: func(root string, _ *sdk.Facts) error {
			return write(root, file{"etc/pm.conf", "root = " + root + "\n", 0o644})
		},
	},
}

func without(name string) func(string, *sdk.Facts) error {
	return func(root string, _ *sdk.Facts) error { return os.Remove(filepath.Join(root, name)) }
}

func with(all ...file) func(string, *sdk.Facts) error {
	return func(root string, _ *sdk.Facts) error {
		for _, f := range all {
			if err := write(root, f); err != nil {
				return err
			}
		}
		return nil
	}
}
