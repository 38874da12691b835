package unitfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInstallSectionIsReadAsSystemdReadsIt(t *testing.T) {
	tests := []struct {
		name      string
		fragments []string
		want      Install
	}{
		{name: "no section", fragments: []string{"[Service]\nExecStart=/bin/true\nWantedBy=x.target\n"}},
		{name: "nothing at all", fragments: []string{""}},
		{
			name:      "lists add up",
			fragments: []string{"[Install]\nWantedBy=a.target b.target\nWantedBy=c.target\nRequiredBy=d.target\nUpheldBy=e.target\nAlias=f.service\nAlso=g.socket\nDefaultInstance=tty1\n"},
			want: Install{
				WantedBy: []string{"a.target", "b.target", "c.target"}, RequiredBy: []string{"d.target"},
				UpheldBy: []string{"e.target"}, Alias: []string{"f.service"}, Also: []string{"g.socket"}, DefaultInstance: "tty1",
			},
		},
		{
			name:      "empty empties",
			fragments: []string{"[Install]\nWantedBy=a.target\nWantedBy=\nWantedBy=b.target\n"},
			want:      Install{WantedBy: []string{"b.target"}},
		},
		{
			name:      "a drop-in is read after its unit",
			fragments: []string{"[Install]\nWantedBy=a.target\n", "[Install]\nWantedBy=\nWantedBy=b.target\n"},
			want:      Install{WantedBy: []string{"b.target"}},
		},
		{
			name:      "comments, quotes and continued lines",
			fragments: []string{"# a unit\n[Install]\n; here\nWantedBy=\"a.target\" \\\n  b.target\n#Alias=x.service\n"},
			want:      Install{WantedBy: []string{"a.target", "b.target"}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var fragments [][]byte
			for _, f := range tc.fragments {
				fragments = append(fragments, []byte(f))
			}
			got, err := ParseInstall(fragments...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := ParseInstall([]byte("[Install\nWantedBy=a.target")); err == nil {
		t.Error("half a section was read as one")
	}
}

func TestAlsoNamesUnits(t *testing.T) {
	in := Install{Also: []string{"c.socket", "%p-wait@%i.service"}}
	got, err := in.AlsoUnits("net@eth0.service")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c.socket", "net-wait@eth0.service"}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"../x.service", "a", "%H.service", "a.service%"} {
		if _, err := (Install{Also: []string{bad}}).AlsoUnits("a.service"); err == nil {
			t.Errorf("%q was taken for a unit", bad)
		}
	}
	if _, err := in.AlsoUnits("../a.service"); err == nil {
		t.Error("a path was taken for a unit")
	}
}

func TestAUnitCannotLeadItsLinksElsewhere(t *testing.T) {
	const file = "/usr/lib/systemd/system/a.service"
	for name, in := range map[string]Install{
		"a path in WantedBy":          {WantedBy: []string{"../../../x.target"}},
		"an absolute path":            {RequiredBy: []string{"/etc/x.target"}},
		"a path by a specifier":       {WantedBy: []string{"%t/x.target"}},
		"the host's name":             {WantedBy: []string{"%H.target"}},
		"a path in Alias":             {Alias: []string{"../b.service"}},
		"a link within another's":     {Alias: []string{"x.target.wants/a.service"}},
		"an alias of another type":    {Alias: []string{"a.socket"}},
		"an alias with instances":     {Alias: []string{"b@.service"}},
		"no unit in UpheldBy":         {UpheldBy: []string{"x"}},
		"a name past the longest":     {WantedBy: []string{strings.Repeat("x", 260) + ".target"}},
		"a type that does not exist":  {WantedBy: []string{"x.wants"}},
		"nothing before the instance": {WantedBy: []string{"@x.service"}},
	} {
		if links, err := Links("a.service", file, in); err == nil {
			t.Errorf("%s: got %v", name, links)
		}
	}
	ok := Install{WantedBy: []string{"multi-user.target"}}
	for _, bad := range [][2]string{{"../a.service", file}, {"a", file}, {"a.service", "a.service"}, {"a.service", "/usr/../etc/a.service"}} {
		if links, err := Links(bad[0], bad[1], ok); err == nil {
			t.Errorf("%v: got %v", bad, links)
		}
	}
	if _, err := Links("a@.service", "/usr/lib/systemd/system/a@.service", ok); err == nil {
		t.Error("a template without an instance was pulled in by a target")
	}
	if _, err := Links("a@.service", file, Install{DefaultInstance: "../x", WantedBy: ok.WantedBy}); err == nil {
		t.Error("a path was taken for an instance")
	}
	if _, err := Links("a@x.service", file, Install{Alias: []string{"b@y.service"}}); err == nil {
		t.Error("an instance was given another one's alias")
	}
}

// Whatever a tree's unit says, its links lie in the directory for them.
func FuzzLinksStayWhereUnitsAreEnabled(f *testing.F) {
	f.Add("a.service", "[Install]\nWantedBy=multi-user.target\nAlias=b.service\n")
	f.Add("g@.service", "[Install]\nDefaultInstance=../../x\nWantedBy=%i.target %p@%i.target\nAlias=%j@.service\n")
	f.Add("g@../x.service", "[Install]\nRequiredBy=../%n\nUpheldBy=\\x2e.target\n")
	f.Fuzz(func(t *testing.T, name, unit string) {
		in, err := ParseInstall([]byte(unit))
		if err != nil {
			return
		}
		links, err := Links(name, "/usr/lib/systemd/system/a.service", in)
		if err != nil {
			return
		}
		for _, l := range links {
			rest, ok := strings.CutPrefix(l.Path, UnitDirectory+"/")
			parts := strings.Split(rest, "/")
			if !ok || len(parts) > 2 {
				t.Fatalf("%q leads to %q", unit, l.Path)
			}
			for _, p := range parts {
				if p == "" || p == "." || p == ".." {
					t.Fatalf("%q leads to %q", unit, l.Path)
				}
			}
		}
	})
}
