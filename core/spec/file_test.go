package spec_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

var source = spec.Source{Name: "box.yaml", Directory: "/srv/specs", Home: "/home/you"}

const aKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti a@b"

// read reads a spec file that is right.
func read(t interface {
	Fatalf(format string, args ...any)
}, data string,
) *spec.File {
	f, err := spec.ReadFile(source, []byte(data))
	if err != nil {
		t.Fatalf("ReadFile: %v\n%s", err, data)
	}
	return f
}

func TestAFileSaysWhatFlagsSay(t *testing.T) {
	const all = `# everything
version: 1
name: box
distro: debian
release: 24.10
mirrors: ["http://deb.example/debian"]
keyring: keys/archive.gpg
options: {variant: minbase, level: 3}
packages:
  - vim
directory: ~/machines
driver: direct
access:
  ssh-keys:
    - ` + aKey + `
    - keys/me.pub
    - ~/.ssh/id_ed25519.pub
  password-file: ../password
network: {address: 10.1.2.3/24, gateway: 10.1.2.1, dns: [9.9.9.9], publish: ["8080:80", 53], egress: internet, host: builtin, alias: true}
limits:
  cpu-quota: 50%
  memory-max: 512M
  memory-high: 268435456
  io-weight: 100
  tasks-max: infinity
  io-bandwidth: 50M
storage:
  bind: [work:/workspace, '/srv/a\:b', "~/x:/x:ro", 'odd\:name:/odd']
  bind-ro: [/etc/ssl]
  ephemeral: true
security: {profile: sandbox, capabilities: [sys_admin], drop-capabilities: [all], no-new-privileges: true, private-users: no, system-call-filter: [~ptrace]}
enable: true
ttl: 2h
labels: {project: web, year: 2026, empty: ""}
no-boot: true
timeout: 5m
`
	f := read(t, all)
	if f.Several || len(f.Machines) != 1 {
		t.Fatalf("it is read as %+v", f)
	}
	got := f.Machines[0]
	want := spec.Input{
		Name: "box", Distro: "debian", Release: "24.10", Mirrors: []string{"http://deb.example/debian"},
		Keyring: "/srv/specs/keys/archive.gpg", Options: []string{"variant=minbase", "level=3"}, Packages: []string{"vim"},
		Directory: "/home/you/machines", Driver: "direct", Password: spec.PasswordGiven, SSHKeys: []string{aKey},
		Address: "10.1.2.3/24", Gateway: "10.1.2.1", DNS: []string{"9.9.9.9"}, Publish: []string{"8080:80", "53"},
		Egress: "internet", HostNetwork: "builtin", Alias: true,
		CPUQuota: "50%", MemoryMax: "512M", MemoryHigh: "268435456", IOWeight: "100", TasksMax: "infinity", IOBandwidth: "50M",
		Binds:         []string{"/srv/specs/work:/workspace", `/srv/a\:b`, "/home/you/x:/x:ro", `/srv/specs/odd\:name:/odd`},
		BindsReadOnly: []string{"/etc/ssl"}, Ephemeral: true,
		Profile: "sandbox", Capabilities: []string{"sys_admin"}, DropCapabilities: []string{"all"}, NoNewPrivileges: true,
		PrivateUsers: "no", SystemCallFilter: []string{"~ptrace"},
		Enable: true, TTL: "2h", Labels: []string{"project=web", "year=2026", "empty="},
	}
	if diff := cmp.Diff(want, got.Input); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/srv/specs/keys/me.pub", "/home/you/.ssh/id_ed25519.pub"}, got.KeyFiles); diff != "" {
		t.Errorf("files of keys (-want +got):\n%s", diff)
	}
	if got.PasswordFile != "/srv/password" || !got.NoBoot || got.Timeout != "5m" {
		t.Errorf("beside the input: %+v", got)
	}
}

func TestSeveralMachinesShareDefaults(t *testing.T) {
	f := read(t, `version: 1
defaults:
  distro: debian
  packages: [vim, curl]
  limits: {memory-max: 1G, tasks-max: 500}
  labels: {project: web, tier: front}
  access: {password: generated}
machines:
  - name: one
  - name: two
    packages: []
    limits: {memory-max: 2G}
    labels: {tier: back}
    access: {password-hash: $6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g.}
`)
	if !f.Several || len(f.Machines) != 2 {
		t.Fatalf("it is read as %+v", f)
	}
	one, two := f.Machines[0].Input, f.Machines[1].Input
	for _, c := range []struct{ what, got, want any }{
		{"the first's packages", one.Packages, []string{"vim", "curl"}},
		{"the second's packages", two.Packages, []string{}},
		{"the first's memory", one.MemoryMax, "1G"},
		{"the second's memory", two.MemoryMax, "2G"},
		{"the second's tasks", two.TasksMax, "500"},
		{"the first's labels", one.Labels, []string{"project=web", "tier=front"}},
		{"the second's labels", two.Labels, []string{"project=web", "tier=back"}},
		{"the first's password", one.Password, spec.PasswordGenerated},
		{"the second's password", two.Password, spec.PasswordHash},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

func TestAliasesAreFollowed(t *testing.T) {
	f := read(t, "version: 1\ndefaults: {distro: debian}\nmachines:\n- name: a\n  limits: &small {memory-max: 1G}\n- name: b\n  limits: *small\n")
	if got := f.Machines[1].Input.MemoryMax; got != "1G" {
		t.Errorf("behind the alias is %q", got)
	}
}

// wish draws a machine that may be wished.
func wish(t *rapid.T) spec.Input {
	some := func(label string, values ...string) string {
		return rapid.SampledFrom(append(values, "")).Draw(t, label)
	}
	many := func(label, form string) []string {
		return rapid.SliceOfNDistinct(rapid.StringMatching(form), 0, 3, rapid.ID[string]).Draw(t, label)
	}
	yes := func(label string) bool { return rapid.Bool().Draw(t, label) }
	in := spec.Input{
		Name: rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9-]{0,10}[A-Za-z0-9])?`).Draw(t, "name"), Distro: rapid.StringMatching(`[a-z0-9]{1,9}`).Draw(t, "distro"),
		Release: some("release", "trixie", "44", "24.10", "2026/01/02", "true", "1e3", "0x1", "null", "~", "no"), Arch: some("arch", "x86_64"),
		Mirrors: many("mirrors", `(http|file)://[a-z/$:#%{}?&*@!\[\],]{1,20}`), Keyring: some("keyring", "/k y", "/a: b", "/#x", "/ä"),
		Packages: many("packages", `[a-z0-9#:*!%@{}\[\]~?,+.=_][a-z0-9#:*!%@{}\[\]~?,+.=_-]{0,9}`), Directory: "/" + rapid.StringMatching(`[a-z #:'"\\{}\[\]-]{0,9}[a-z]`).Draw(t, "directory"),
		Password: spec.PasswordKind(some("password", "given", "hash", "generated")), InvokerKeys: yes("invoker"),
		Address: some("address", "10.1.2.3/24"), CPUQuota: some("cpu", "50%"),
		MemoryMax: some("memory", "infinity", "512M", "1073741825"), MemoryHigh: some("high", "100M"), IOBandwidth: some("io", "3G", "70000"),
		IOWeight: some("weight", "7"), TasksMax: some("tasks", "infinity", "500"), Driver: some("driver", "auto", "direct"),
		PrivateNetwork: yes("private"), Alias: yes("alias"), Egress: some("egress", "any", "none", "internet"), HostNetwork: some("host", "builtin", "auto"),
		ReadOnly: yes("ro"), Ephemeral: yes("ephemeral"), Profile: some("profile", "sandbox"),
		Capabilities: many("capabilities", `kill|sys_(boot|time)`), DropCapabilities: many("drop", `CAP_(MKNOD|SYSLOG|LEASE)`), SystemCallFilter: many("calls", `~?(bpf|ptrace|@mount)`),
		NoNewPrivileges: yes("nnp"), PrivateUsers: some("users", "no", "identity", "pick"), Enable: yes("enable"), TTL: some("ttl", "2h", "90m30s"),
	}
	if yes("keys") {
		in.SSHKeys = []string{aKey}
	}
	if in.Ephemeral = in.Ephemeral && !in.ReadOnly; in.PrivateNetwork {
		in.Address, in.Egress, in.Alias = "", "", false
	}
	in.DNS = rapid.SampledFrom([][]string{nil, {"auto"}, {"host"}, {"9.9.9.9", "2001:db8::1"}}).Draw(t, "dns")
	if ports := rapid.SampledFrom([][]string{nil, {"80"}, {"127.0.0.1:1:2/udp", "22:22"}}).Draw(t, "publish"); !in.PrivateNetwork {
		in.Publish = ports
	}
	for key, value := range rapid.MapOfN(rapid.StringMatching(`[a-z0-9.-]{1,5}`), rapid.StringMatching(`[^\pC\x00-\x1f=,\x7f\x{2028}]{0,6}`), 0, 3).Draw(t, "options") {
		in.Options = append(in.Options, key+"="+value)
	}
	for key, value := range rapid.MapOfN(rapid.StringMatching(`[a-z0-9]([a-z0-9./_-]{0,4}[a-z0-9])?`), rapid.StringMatching(`[^\pC=,]{0,9}`), 0, 3).Draw(t, "labels") {
		in.Labels = append(in.Labels, key+"="+value)
	}
	in.Snapshot = some("snapshot", "2026-11-01", "2026-11-01T12:00:00Z")
	in.Hooks = rapid.SampledFrom([][]string{nil, {"after:bootstrap:true"}, {"before:boot:echo 'a: b' > /x", "after:network:one\ntwo"}}).Draw(t, "hooks")
	in.ScriptNetwork = in.Hooks != nil && yes("script-network")
	for i, from := range many("copies", `/[a-z:\\ #'"{},]{0,6}[a-z]`) {
		in.Copies = append(in.Copies, spec.Copy{Source: from, Target: fmt.Sprintf("/c%d%s", i, some("into", "/"))}.String())
		in.Scripts = append(in.Scripts, from)
	}
	for i, from := range many("binds", `/[a-z:\\ #'"{},]{0,6}[a-z]`) {
		b := spec.Bind{Source: from, Target: fmt.Sprintf("/t%d", i), ReadOnly: yes("bind-ro")}
		in.Binds = append(in.Binds, b.String())
	}
	return in
}

func TestWhatIsWrittenIsWhatIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, err := spec.Build(wish(t))
		if err != nil {
			t.Skip(err)
		}
		data := spec.FormatFile(before)
		w := read(t, string(data)).Machines[0]
		after, err := spec.Build(w.Input)
		if err != nil {
			t.Fatalf("what was written is not taken: %v\n%s", err, data)
		}
		if d := spec.Diff(before, after); len(d) > 0 {
			t.Fatalf("it comes back with %v\n%s", d, data)
		}
		if again := spec.FormatFile(after); !bytes.Equal(again, data) {
			t.Fatalf("it is written differently the second time:\n%s\n%s", data, again)
		}
	})
}

func TestAPasswordThatTheDefaultsLockIsLockedInEachMachine(t *testing.T) {
	f, err := spec.ReadFile(source, []byte("version: 1\ndefaults: {distro: debian, access: {password: locked}}\nmachines: [{name: a}, {name: b, access: {invoker-keys: true}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range f.Machines {
		if w.Input.Password != spec.PasswordLocked {
			t.Errorf("that of %s is %q", w.Input.Name, w.Input.Password)
		}
	}
}
