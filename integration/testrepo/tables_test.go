package testrepo

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersionsLoseWhatOthersDoNotKnow(t *testing.T) {
	for debian, want := range map[string]string{
		"1.2-3":                "1.2",
		"1:9.2p1-2+deb12u3":    "1:9.2p1",
		"0:1.0-1":              "1.0",
		"2024.1":               "2024.1",
		"6.1~rc1-1":            "6.1",
		"1.0-rc1-2":            "1.0.rc1",
		"13.8+deb13u1":         "13.8+deb13u1",
		"1:1.3.dfsg+really1-1": "1:1.3.dfsg+really1",
	} {
		if got := parseVersion(debian).String(); got != want {
			t.Errorf("%s is %s, want %s", debian, got, want)
		}
	}
}

func TestPrunedPathsAreWholeOnes(t *testing.T) {
	pruned := pruned(readList("prune.list"))
	for path, want := range map[string]bool{
		"usr/share/doc": true, "usr/share/doc/bash/README": true, "usr/share/docs": false, "usr/share/doc-base/x": true,
		"etc/init.d/ssh": true, "etc/initXd": false, "etc/rc3.d": true, "etc/cron.daily/x": true, "etc/cron.": false,
		"etc/os-release": true, "srv/etc/os-release": false, "usr/lib/systemd/system/ssh.service": false, "etc/issue.net": true,
	} {
		if got := pruned.MatchString(path); got != want {
			t.Errorf("%s: pruned %v, want %v", path, got, want)
		}
	}
}

func TestControlFilesAreRead(t *testing.T) {
	got := parseControl("Package: a\nArchitecture: amd64\nVersion: 1-1\nDescription: short\n long: not a field\n" +
		"Pre-Depends: p\nDepends: b (>= 2:1.0-1~) | c, d:any\nProvides: v (= 1), w\n")
	want := deb{
		name: "a", arch: "amd64", version: "1-1", summary: "short", provides: []string{"v", "w"},
		depends: [][]relation{{{"p", "", ""}}, {{"b", ">=", "2:1.0-1~"}, {"c", "", ""}}, {{"d", "", ""}}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(deb{}, relation{})); diff != "" {
		t.Error(diff)
	}
}

// aPlan plans from a table and the control files of what there is.
func aPlan(t *testing.T, table string, controls ...string) map[string]string {
	t.Helper()
	rules := &tables{rules: map[string]rule{}, drop: []string{"dropped"}}
	if err := rules.parse(table); err != nil {
		t.Fatal(err)
	}
	available := map[string]deb{}
	for _, c := range controls {
		d := parseControl(c)
		available[d.name] = d
	}
	packs, err := plan(rules, available)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range packs {
		var all []string
		for _, d := range p.depends {
			all = append(all, d.name+d.op+d.version.String())
		}
		got[p.Package] = p.repository + " " + p.version.String() + ": " + strings.Join(all, " ")
	}
	return got
}

const aTable = `Repository: core
Packages: big new

Repository: extra
Packages: small

Package: filesystem
Debs: base-files
Bare: yes

Package: big
Debs: big-bin libbig1
Depends: new

Package: part
From: big
Take: ^usr/bin/part$

Package: new
Version: 7
`

func TestDependenciesAreTranslated(t *testing.T) {
	got := aPlan(t, aTable,
		"Package: base-files\nVersion: 13\nArchitecture: amd64\nDepends: awk\n",
		"Package: libbig1\nVersion: 3-1\nArchitecture: amd64\n",
		"Package: big-bin\nVersion: 2:1.4-1\nArchitecture: amd64\nDepends: libbig1 (= 3-1), dropped, nowhere | virtual, tool (>> 2.1-1~)\n",
		"Package: tool\nVersion: 2.2-1\nArchitecture: all\nProvides: virtual\n",
		"Package: dropped\nVersion: 1\nArchitecture: all\n",
		// The version of big is not that of libbig1, so nothing can be asked of it.
		"Package: small\nVersion: 0.1-1\nArchitecture: all\nDepends: libbig1 (>= 3), big-bin (<< 2:1.5)\n",
		"Package: unwanted\nVersion: 1\nArchitecture: all\n",
	)
	want := map[string]string{
		"filesystem": "core 13: ",
		"big":        "core 2:1.4: new tool>=2.1",
		"new":        "core 7: filesystem",
		"tool":       "core 2.2: filesystem",
		"small":      "extra 0.1: big<=2:1.5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTablesAreComplete(t *testing.T) {
	for _, distribution := range slices.Sorted(maps.Keys(distributions)) {
		tables, err := readTables(distribution)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range tables.files {
			if !strings.HasSuffix(name, ".txtar") {
				continue
			}
			if _, _, err := parseOverlay(text); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if strings.Contains(string(text), "@RELEASE@") {
				t.Errorf("%s: the release is not filled in", name)
			}
		}
		for _, r := range tables.rules {
			for _, f := range r.Files {
				if tables.files["common/"+f+".txtar"] == nil {
					t.Errorf("%s: %s has no archive of files %s", distribution, r.Package, f)
				}
			}
		}
	}
}

func TestMistakesInTablesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"Package: a\n":                     "a: made of nothing: one of Debs, Version and Take is needed",
		"Debs: a\n":                        "a stanza names no package",
		"Package: a\nDebs: a\nDepend: b":   `there is no field "Depend"`,
		"Package a\n":                      `"Package a" is no field`,
		"Package: a\nDebs: a\nCopy: b":     "a: Copy takes pairs, Substitute threes",
		"Package: a\nFrom: b\nTake: (":     "a: Take: error parsing regexp: missing closing ): `(`",
		"Repository: a\nDebs: b\n":         `there is no field "Debs"`,
		"# nothing\n\nPackage: a\nDebs: b": "",
	} {
		err := (&tables{rules: map[string]rule{}}).parse(text)
		if got := errorText(err); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestARuleTakesThePlaceOfThoseBelow(t *testing.T) {
	rules := &tables{rules: map[string]rule{}}
	for _, layer := range []string{
		"Repository: low\nPackages: a\n\nPackage: a\nDebs: x\n\nPackage: b\nFrom: a\nTake: y\n",
		"Repository: high\nInstead: all\nPackages: c\n\nPackage: c\nInstead: a b\nDebs: x\n",
	} {
		if err := rules.parse(layer); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Collect(maps.Keys(rules.rules)); !slices.Equal(got, []string{"c"}) {
		t.Errorf("the rules are %q", got)
	}
	if r := rules.repositories; len(r) != 1 || r[0].name != "high" {
		t.Errorf("the repositories are %+v", r)
	}
	if err := rules.parse("Package: d\nInstead: a\nDebs: z\n"); err == nil || !strings.Contains(err.Error(), "no rule for a") {
		t.Errorf("a rule in place of none: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestOverlaysHaveFilesDirectoriesAndLinks(t *testing.T) {
	entries, scripts, err := parseOverlay([]byte("a comment\n-- a/b 0600 --\ntext\n-- tmp/ 1777 --\n-- l -> ../x --\n-- %post -n p --\ntrue\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, e := range entries {
		if err := e.put(dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"a/b": "-rw-------", "tmp": "dtrwxrwxrwx", "l": "Lrwxrwxrwx"} {
		if got := modeOf(t, dir, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if diff := cmp.Diff([]script{{"%post -n p", "true\n"}}, scripts, cmp.AllowUnexported(script{})); diff != "" {
		t.Error(diff)
	}
	if _, _, err := parseOverlay([]byte("-- a 9 --\n")); err == nil {
		t.Error("9 was taken for a mode")
	}
}
