package spec_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

var update = flag.Bool("update", false, "write what is generated into docs/")

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

func TestWhatIsWrongInAFileIsSaidWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, data, want, hint string }{
		{"nothing", "", "box.yaml:1:1: spec file: says nothing", "version: 1"},
		{"a comment", "# x\n", "box.yaml:1:1: spec file: says nothing", "version: 1"},
		{"no version", "distro: debian\n", "box.yaml:1:1: version: is not given", "version: 1"},
		{"another version", "version: 2\n", `box.yaml:1:10: version: "2" is not a version that this program knows`, "version: 1"},
		{"a version in quotes", "version: \"1\"\n", `box.yaml:1:10: version: "1" is not a version that this program knows`, ""},
		{"an unknown key", "version: 1\nmemory: 1G\n", "box.yaml:2:1: memory: is not known", "the keys here are name, distro"},
		{"a key of a group outside of it", "version: 1\nmemory-max: 1G\n", "box.yaml:2:1: memory-max: is not known", "limits: memory-max"},
		{"a flag's name", "version: 1\npackage: [vim]\n", "box.yaml:2:1: package: is not known", "packages"},
		{"a dotted key", "version: 1\nlimits.memory-max: 1G\n", "box.yaml:2:1: limits.memory-max: is not known", "limits: memory-max"},
		{"an unknown key in a group", "version: 1\nlimits: {memory: 1G}\n", "box.yaml:2:10: limits.memory: is not known", "the keys in limits are cpu-quota"},
		{"a key twice", "version: 1\ndistro: debian\ndistro: arch\n", "box.yaml:3:1: distro: is said twice, first in line 2", "once"},
		{"a key twice in a group", "version: 1\nlimits: {memory-max: 1G, memory-max: 2G}\n", "box.yaml:2:26: limits.memory-max: is said twice", ""},
		{"a list for a text", "version: 1\ndistro: [debian]\n", "box.yaml:2:9: distro: is a list, where a text is wanted", ""},
		{"a number for a text", "version: 1\ndistro: 7\n", `box.yaml:2:9: distro: "7" is a number, where a text is wanted`, "quotes"},
		{"a text for a list", "version: 1\npackages: vim\n", "box.yaml:2:11: packages: is a text, where a list is wanted", ""},
		{"a text for a switch", "version: 1\nenable: yes\n", `box.yaml:2:9: enable: "yes" is a text, where true or false is wanted`, ""},
		{"a truth value in a list", "version: 1\npackages: [vim, true]\n", `box.yaml:2:17: packages: "true" is a truth value, where a text is wanted`, ""},
		{"a list for pairs", "version: 1\nlabels: [a=b]\n", "box.yaml:2:9: labels: is a list, where keys with values are wanted", ""},
		{"a text for a group", "version: 1\nlimits: 1G\n", "box.yaml:2:9: limits: is a text, where keys with values are wanted", ""},
		{"no value", "version: 1\nrelease:\n", "release: is nothing, where a text is wanted", "leave the key out"},
		{"a tag", "version: 1\ndistro: !!str debian\n", "is a tag, which is not taken", ""},
		{"a merge key", "version: 1\nlimits:\n  <<: *x\n", "box.yaml:3:3: limits: has a merge key", "defaults"},
		{"an alias of nothing", "version: 1\nlimits: *x\n", `box.yaml:2:9: limits: "*x" is an alias of nothing`, ""},
		{"an alias of itself", "version: 1\nlimits: &x {memory-max: *x}\n", "limits.memory-max", ""},
		{"a list of everything", "- version: 1\n", "box.yaml:1:1: spec file: is a list", ""},
		{"two documents", "version: 1\n---\nversion: 1\n", "box.yaml:3:1: spec file: has several documents", "machines:"},
		{"bad YAML", "version: 1\n distro: debian\n", "spec file: is not YAML: ", ""},
		{"a tab", "version: 1\nlimits:\n\tmemory-max: 1G\n", "box.yaml:3:", ""},
		{"no text", "version: 1\ndistro: \xff\n", "is not text in UTF-8", ""},
		{"defaults alone", "version: 1\ndefaults: {distro: debian}\n", "box.yaml:2:1: defaults: is given without machines", ""},
		{"a key beside machines", "version: 1\ndistro: debian\nmachines: [{name: a}]\n", "box.yaml:2:1: distro: is not possible beside machines", "defaults"},
		{"no machines", "version: 1\nmachines: []\n", "box.yaml:2:1: machines: is empty", ""},
		{"a machine without a name", "version: 1\nmachines:\n- distro: debian\n", "box.yaml:3:3: name: is not given", ""},
		{"a name twice", "version: 1\nmachines:\n- name: a\n- name: a\n", `box.yaml:4:9: name: "a" is the name of another machine, in line 3`, ""},
		{"a shared name", "version: 1\ndefaults: {name: a}\nmachines: [{name: b}]\n", "box.yaml:2:12: name: cannot be shared", ""},
		{"two passwords", "version: 1\naccess: {password: generated, password-file: x}\n", "access.password-file: contradicts what else is said", ""},
		{"a label's key", "version: 1\nlabels: {\"a=b\": c}\n", `labels: "a=b" is not a key`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := spec.ReadFile(source, []byte(c.data))
			var bad *spec.FileError
			if !errors.As(err, &bad) {
				t.Fatalf("ReadFile: %v, want findings", err)
			}
			first := bad.Findings[0]
			if !strings.Contains(first.Error(), c.want) || !strings.Contains(first.Hint, c.hint) || first.Hint == "" {
				t.Errorf("it says %q, hint %q, want %q, hint %q", first.Error(), first.Hint, c.want, c.hint)
			}
			var invalid spec.Invalid
			if !errors.As(err, &invalid) || len(invalid) != len(bad.Findings) {
				t.Errorf("it is not an Invalid of %d findings: %v", len(bad.Findings), invalid)
			}
		})
	}
}

func TestValuesThatAreWrongHaveTheirPlaceToo(t *testing.T) {
	f := read(t, `version: 1
name: -x
distro: debian
packages:
  - vim
  - -o
limits: {memory-max: 12X}
network:
  publish: [80:80, 0:1]
labels:
  a: "x,y"
storage:
  bind-ro: [/srv:/]
`)
	w := f.Machines[0]
	_, err := spec.Build(w.Input)
	var bad spec.Invalid
	if !errors.As(err, &bad) {
		t.Fatalf("Build: %v", err)
	}
	var got []string
	for _, f := range w.Locate(bad).Findings {
		got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Column, f.Field))
	}
	want := []string{"2:7 name", "1:1 directory", "6:5 package", "9:20 network.publish", "7:22 limits.memory-max", "13:13 storage.bind", "11:3 label"}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
	e := w.Locate(spec.Invalid{{Field: "limits.memory-max", Value: "12X", Problem: "is not a size"}}).Findings[0]
	if diff := cmp.Diff([]string{"   7 | limits: {memory-max: 12X}", "     |                      ^"}, e.Excerpt); diff != "" {
		t.Errorf("excerpt (-want +got):\n%s", diff)
	}
}

func TestWhatTheFileDoesNotSayIsNotLookedForInIt(t *testing.T) {
	w := read(t, "version: 1\nlimits: {memory-max: 1G}\n").Machines[0]
	for _, f := range spec.FileFields {
		f.Take(w, &spec.Wish{Input: spec.Input{MemoryMax: "12X"}})
	}
	all := w.Locate(spec.Invalid{
		{Field: "limits.memory-max", Value: "12X", Problem: "is not a size"}, {Field: "distro", Problem: "is not given"},
	}).Findings
	if got := all[0].Error(); got != `limits.memory-max: "12X" is not a size` || all[0].Excerpt != nil {
		t.Errorf("of a flag is said %q", got)
	}
	if got := all[1].Error(); got != "box.yaml:1:1: distro: is not given" {
		t.Errorf("of what nobody says is said %q", got)
	}
}

// Somebody will write a password into the file.
func TestAPasswordInAFileIsRepeatedNowhere(t *testing.T) {
	const marker = "hunter2"
	for _, data := range []string{
		"version: 1\naccess: {password: hunter2}\n",
		"version: 1\naccess:\n  password: hunter2\n",
		"version: 1\naccess:\n  password: |\n    hunter2\n",
		"version: 1\naccess:\n  password: [hunter2]\n",
		"version: 1\naccess:\n  password:\n    hunter2: x\n",
		"version: 1\naccess:\n  password-hash: [hunter2]\n",
		"version: 1\naccess:\n  password: \"hunter2\n",
		"version: 1\npassword: hunter2\n",
		"version: 1\nroot-password: hunter2\n",
		"version: 1\naccess:\n  passphrase: x\n  password: hunter2: y\n",
	} {
		_, err := spec.ReadFile(source, []byte(data))
		var bad *spec.FileError
		if !errors.As(err, &bad) {
			t.Errorf("%q: %v, want findings", data, err)
			continue
		}
		for _, f := range bad.Findings {
			if said := f.Error() + f.Hint + strings.Join(f.Excerpt, "\n"); strings.Contains(said, marker) {
				t.Errorf("%q: it shows in\n%s", data, said)
			}
		}
	}
	w := read(t, "version: 1\naccess: {password-hash: hunter2}\n").Machines[0]
	for _, f := range w.Locate(spec.Invalid{spec.ParseHash(w.PasswordHash.Reveal())}).Findings {
		if said := f.Error() + f.Hint + strings.Join(f.Excerpt, "\n"); strings.Contains(said, marker) || f.Line != 2 {
			t.Errorf("the hash shows in\n%s", said)
		}
	}
}

func TestAFileThatWouldTakeForeverIsRefusedAtOnce(t *testing.T) {
	aliases := "version: 1\nmachines:\n- &m {name: a, labels: &l {" + strings.TrimSuffix(strings.Repeat("k: v, ", 10), ", ") + "}}\n"
	for name, data := range map[string]string{
		"large":                   "version: 1\n#" + strings.Repeat(strings.Repeat("x", 100)+"\n#", 4000),
		"wide":                    "version: 1\ndistro: " + strings.Repeat("x", 20000),
		"brackets":                "version: 1\npackages: " + strings.Repeat("[", 1000),
		"braces":                  "version: 1\nlabels: " + strings.Repeat("{a: ", 1000),
		"dashes":                  strings.Repeat("- ", 5000),
		"stairs":                  stairs(500),
		"laughs":                  "version: 1\na: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\npackages: *c\n",
		"the same machine, often": aliases + strings.Repeat("- *m\n", 20000),
	} {
		if _, err := spec.ReadFile(source, []byte(data)); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
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
		Capabilities: many("capabilities", `[a-z]{3,6}`), DropCapabilities: many("drop", `CAP_[A-Z]{3,5}`), SystemCallFilter: many("calls", `~?@?[a-z]{1,5}`),
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

// fill gives everything in v a value that is not its zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("10.1.2.3")))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("10.1.2.3/24")))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint16, reflect.Uint64:
		v.SetUint(1)
	default:
		t.Fatalf("how is a %s filled?", v.Type())
	}
}

// Who adds a field to Spec decides here what it is called in a file and what it
// takes to change it.
func TestTheTableKnowsEveryFieldOfASpec(t *testing.T) {
	var full spec.Spec
	fill(t, reflect.ValueOf(&full).Elem())
	seen := map[string]bool{}
	for _, d := range spec.Diff(spec.Spec{}, full) {
		if key, known := d.InFile(); known {
			seen[key] = true
		} else if d.Field != "version" {
			t.Errorf("%s is in no row of the table", d.Field)
		}
	}
	for _, f := range spec.FileFields {
		if f.Change != "" && !seen[f.Key] && f.Key != "storage.bind-ro" {
			t.Errorf("%s is in no spec, not even in one that says everything", f.Key)
		}
		if f.Help == "" {
			t.Errorf("%s has no help", f.Key)
		}
	}
}

func TestTheTableSaysWhatAChangeTakes(t *testing.T) {
	for field, want := range map[string]spec.Change{
		"limits.memoryMax": spec.ChangeLive, "labels.a.b": spec.ChangeLive, "storage.binds": spec.ChangeRestart, "network.private": spec.ChangeNew,
		"network.dns.servers": spec.ChangeRestart, "release": spec.ChangeNew, "options.variant": spec.ChangeNew,
		"network.address": spec.ChangeNew, "a.field.of.the.future": spec.ChangeNew,
	} {
		if got := (spec.Difference{Field: field}).Change(); got != want {
			t.Errorf("%s takes %q, want %q", field, got, want)
		}
	}
}

func TestThePublishedSchemaIsCurrent(t *testing.T) {
	const path = "../../docs/spec.schema.json"
	if *update {
		if err := os.WriteFile(path, spec.FileSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(spec.FileSchema()), string(have)); diff != "" {
		t.Errorf("go test ./core/spec -update writes it (-want +got):\n%s", diff)
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add([]byte("version: 1\nname: box\ndistro: debian\nlimits: {memory-max: 1G}\n"))
	f.Add([]byte("version: 1\ndefaults: &d\n  labels: {a: b}\nmachines:\n- name: x\n  access: {password: generated}\n- name: y\n  labels: *d\n"))
	f.Add([]byte("version: 1\n? [a]\n: !!x |\n  y\n<<: *z\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := spec.ReadFile(source, data)
		var bad *spec.FileError
		if err != nil && (!errors.As(err, &bad) || len(bad.Findings) == 0) {
			t.Fatalf("%v is no list of findings", err)
		}
		if bad != nil {
			for _, f := range bad.Findings {
				if strings.ContainsAny(f.Error()+strings.Join(f.Excerpt, ""), "\n\x1b\x00") || f.Line < 1 || f.Column < 1 {
					t.Errorf("not a finding to print: %q at %d:%d, %q", f.Error(), f.Line, f.Column, f.Excerpt)
				}
			}
			return
		}
		for _, w := range file.Machines {
			s, err := spec.Build(w.Input)
			var invalid spec.Invalid
			if errors.As(err, &invalid) {
				for _, f := range w.Locate(invalid).Findings {
					if f.Line < 1 || strings.ContainsAny(strings.Join(f.Excerpt, ""), "\n\x1b") {
						t.Errorf("%v has no place: %+v", f, f)
					}
				}
				continue
			}
			text := spec.FormatFile(s)
			again, err := spec.Build(read(t, string(text)).Machines[0].Input)
			if err != nil || len(spec.Diff(s, again)) > 0 {
				t.Errorf("%s\ncomes back with %v, %v", text, spec.Diff(s, again), err)
			}
		}
	})
}

// The page says of every field what the table does.
func TestThePageAboutSpecFilesHasEveryKey(t *testing.T) {
	const path, begin, end = "../../docs/spec-file.md", "<!-- keys: go test ./core/spec -update -->\n", "<!-- end of keys -->\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(page), begin)
	have, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatal("the page has no place for the keys")
	}
	want := "| key | what | flag | a change |\n|---|---|---|---|\n"
	for _, f := range spec.FileFields {
		flag, change := "", string(f.Change)
		if f.Flag != "" {
			flag = "`--" + f.Flag + "`"
		}
		want += fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.Key, strings.ReplaceAll(f.Help, "|", `\|`), flag, map[string]string{
			"live": "at once", "restart": "restart", "new machine": "new machine", "": "",
		}[change])
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("go test ./core/spec -update writes it (-want +got):\n%s", diff)
	}
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
