package spec_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

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
