package spec_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func readMatrix(t *testing.T, text string) *spec.Matrix {
	t.Helper()
	m, err := spec.ReadMatrix(source, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func jobNames(m *spec.Matrix) []string {
	var names []string
	for _, j := range m.Jobs {
		names = append(names, j.Name)
	}
	return names
}

func jobNamed(t *testing.T, m *spec.Matrix, name string) *spec.Job {
	t.Helper()
	i := slices.IndexFunc(m.Jobs, func(j *spec.Job) bool { return j.Name == name })
	if i < 0 {
		t.Fatalf("there is no %s in %v", name, jobNames(m))
	}
	return m.Jobs[i]
}

const wholeMatrix = `version: 1
defaults:
  packages: [ca-certificates]
  labels: {team: ci}
  image: {format: [tar.zst], check: ["true"]}
distros:
  - distro: debian
    releases: [bookworm, trixie, sid]
    packages: [vim]
    mirrors: ["file:///srv/debian"]
  - distro: fedora
    releases: [42]
  - arch
variants:
  - name: minimal
  - name: web
    base: minimal
    customize: {script: [web.sh]}
    labels: {role: web}
    image: {check: [systemctl is-active nginx], format: [oci]}
  - name: fat
    packages: [emacs]
exclude:
  - {release: sid, variant: fat}
  - {distro: arch, variant: web}
override:
  - distro: debian
    variant: fat
    packages: [emacs-nox]
    mirrors: ["file:///srv/other"]
include:
  - {name: old, distro: debian, release: bullseye, variant: fat}
  - {distro: fixture, arch: x86_64}
`

func TestAMatrixIsItsGridLessWhatIsExcludedAndWithWhatIsIncluded(t *testing.T) {
	m := readMatrix(t, wholeMatrix)
	want := []string{
		"debian-bookworm-minimal", "debian-bookworm-web", "debian-bookworm-fat",
		"debian-trixie-minimal", "debian-trixie-web", "debian-trixie-fat",
		"debian-sid-minimal", "debian-sid-web",
		"fedora-42-minimal", "fedora-42-web", "fedora-42-fat",
		"arch-minimal", "arch-fat",
		"old", "fixture",
	}
	if d := cmp.Diff(want, jobNames(m)); d != "" {
		t.Error(d)
	}
}

func TestWhatIsDoneToAnImageAddsUpAndWhatItIsLikeIsReplaced(t *testing.T) {
	m := readMatrix(t, wholeMatrix)
	for _, c := range []struct {
		job      string
		packages []string
		mirrors  []string
		checks   []string
		formats  []string
		labels   []string
	}{
		{"debian-trixie-minimal", []string{"ca-certificates", "vim"}, []string{"file:///srv/debian"}, []string{"true"}, []string{"tar.zst"}, []string{"team=ci"}},
		{"debian-trixie-fat", []string{"ca-certificates", "vim", "emacs", "emacs-nox"}, []string{"file:///srv/other"}, []string{"true"}, []string{"tar.zst"}, []string{"team=ci"}},
		{"debian-trixie-web", nil, []string{"file:///srv/debian"}, []string{"true", "systemctl is-active nginx"}, []string{"oci"}, []string{"team=ci", "role=web"}},
		{"fedora-42-fat", []string{"ca-certificates", "emacs"}, nil, []string{"true"}, []string{"tar.zst"}, []string{"team=ci"}},
		{"old", []string{"ca-certificates", "vim", "emacs"}, []string{"file:///srv/debian"}, []string{"true"}, []string{"tar.zst"}, []string{"team=ci"}},
		{"fixture", []string{"ca-certificates"}, nil, []string{"true"}, []string{"tar.zst"}, []string{"team=ci"}},
	} {
		w := jobNamed(t, m, c.job).Wish
		for _, of := range []struct {
			what      string
			got, want []string
		}{
			{"packages", w.Input.Packages, c.packages},
			{"mirrors", w.Input.Mirrors, c.mirrors},
			{"checks", w.Image.Checks, c.checks},
			{"formats", w.Image.Formats, c.formats},
			{"labels", w.Input.Labels, c.labels},
		} {
			if d := cmp.Diff(of.want, of.got); d != "" {
				t.Errorf("%s of %s: %s", of.what, c.job, d)
			}
		}
	}
}

func TestAnImageIsBuiltOnTheOneOfItsOwnRelease(t *testing.T) {
	m := readMatrix(t, wholeMatrix)
	for job, base := range map[string]string{"debian-sid-web": "debian-sid-minimal", "fedora-42-web": "fedora-42-minimal", "debian-sid-minimal": ""} {
		if got := jobNamed(t, m, job).Base; got != base {
			t.Errorf("%s is built on %q", job, got)
		}
	}
	// What the base has had done to it is not done again, what the variant says is.
	w := jobNamed(t, m, "debian-trixie-web").Wish
	if d := cmp.Diff([]string{source.Directory + "/web.sh"}, w.Input.Scripts); d != "" {
		t.Error(d)
	}
}

func TestWhatIsWrittenOfAJobIsReadAgainAsItWas(t *testing.T) {
	for _, text := range []string{wholeMatrix, `version: 1
defaults:
  access:
    ssh-keys: [keys.pub, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS a"]
    password: locked
  options: {variant: minbase}
  keyring: ring.gpg
  customize: {copy: ["src:/opt", "with\\:colon:/srv"], hook: ["after:network:echo 'a: b' # c"], network: false}
  image: {format: [tar], verify: true, source-date-epoch: 1700000000, lock: l.json}
distros: [debian]
`} {
		for _, j := range readMatrix(t, text).Jobs {
			written := j.Wish.Format()
			f, err := spec.ReadFile(spec.Source{Name: "job.yaml", Directory: "/elsewhere", Home: "/elsewhere"}, written)
			if err != nil {
				t.Fatalf("%v\n%s", err, written)
			}
			w := f.Machines[0]
			if d := cmp.Diff(j.Wish.Input, w.Input, cmp.Comparer(func(a, b []string) bool { return slices.Equal(a, b) || sameSet(a, b) })); d != "" {
				t.Errorf("%s\n%s", d, written)
			}
			if d := cmp.Diff(j.Wish.Image, w.Image); d != "" {
				t.Errorf("%s\n%s", d, written)
			}
			if d := cmp.Diff(j.Wish.KeyFiles, w.KeyFiles); d != "" {
				t.Error(d)
			}
		}
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

func TestEachFaultOfAMatrixHasItsPlaceAndAHint(t *testing.T) {
	const head = "version: 1\ndefaults: {image: {format: [tar]}}\n"
	for _, c := range []struct{ text, want string }{
		{"version: 2\ndistros: [debian]\n", `1:10: version: "2" is not a version`},
		{"version: 1\n", "1:1: distros: is not given"},
		{"version: 1\ndistros: debian\n", "2:10: distros: is a text, where a list is wanted"},
		{"version: 1\ndistros: []\n", "2:1: distros: is empty"},
		{"version: 1\npackages: [vim]\ndistros: [debian]\n", "2:1: packages: is not known"},
		{"version: 1\ndistros: [debian]\ndefaults: {network: {alias: true}}\n", "3:12: network: is about a machine"},
		{"version: 1\ndistros: [debian]\ndefaults: {release: sid}\n", "3:12: defaults.release: is not said here"},
		{"version: 1\ndistros: [{distro: debian, packags: [vim]}]\n", "2:28: packags: is not known"},
		{"version: 1\ndistros: [{releases: [sid]}]\n", "distro: is not given"},
		{"version: 1\ndistros: [{distro: debian, releases: [sid, sid]}]\n", `2:44: releases: "sid" is there twice`},
		{head + "distros: [debian, debian]\n", `3:19: name: "debian" is the name of another image`},
		{head + "distros: [debian]\nvariants: [{name: A}]\n", `4:19: name: "A" is not the name of a variant`},
		{head + "distros: [debian]\nvariants: [{name: a}, {name: a}]\n", `4:30: name: "a" is the name of another variant`},
		{head + "distros: [debian]\nvariants: [{packages: [vim]}]\n", "4:12: name: is not given"},
		{head + "distros: [debian]\nexclude: [{distro: debain}]\n", `4:11: exclude: "debain" is nothing of the matrix`},
		{head + "distros: [debian]\nexclude: [{distro: debian}]\n", "exclude: leaves nothing"},
		{head + "distros: [debian]\nexclude: [{}]\n", "exclude: does not say what"},
		{head + "distros: [debian]\nexclude: [{distro: debian, packages: [vim]}]\n", "4:28: exclude.packages: says nothing of what is excluded"},
		{head + "distros: [debian]\noverride: [{variant: a, packages: [vim]}]\n", `4:12: override: "a" is nothing of the matrix`},
		{head + "distros: [debian]\noverride: [{packages: [vim]}]\n", "override: does not say of what"},
		{head + "distros: [debian]\ninclude: [{release: sid}]\n", "4:11: distro: is not given"},
		{head + "distros: [debian]\ninclude: [{distro: debian}]\n", `4:11: name: "debian" is the name of another image`},
		{head + "distros: [debian]\ninclude: [{name: a/b, distro: debian}]\n", `4:18: name: "a/b" is not a machine name`},
		{head + "distros: [debian]\ninclude: [{name: x, distro: debian, base: y}]\n", `4:43: base: "y" is neither a variant nor an image`},
		{head + "distros: [debian]\ninclude: [{name: x, distro: arch, base: debian}]\n", `4:41: base: "debian" is debian, and x is arch`},
		{head + "distros: [debian]\ninclude: [{name: x, distro: debian, base: debian, packages: [vim]}]\n", `4:61: packages: "vim" cannot be added to debian`},
		{head + "distros: [debian]\ninclude: [{name: x, distro: debian, base: y}, {name: y, distro: debian, base: x}]\n", "comes to be built on itself: x on y on x"},
		{head + "distros: [debian]\nvariants: [{name: a}, {name: b, base: a}]\nexclude: [{variant: a}]\n", `4:39: base: "a" is not built of debian, and debian-b is to be built on it`},
		{"version: 1\ndistros: [debian]\ndefaults: {image: {format: [oci]}}\nvariants: [{name: a}, {name: b, base: a}]\n", `4:39: base: "debian-a" has no format that another image can be built on`},
	} {
		_, err := spec.ReadMatrix(source, []byte(c.text))
		var bad *spec.FileError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v of\n%s", c.want, err, c.text)
			continue
		}
		for _, f := range bad.Findings {
			if f.Hint == "" || f.Line == 0 {
				t.Errorf("%v has no hint or no place", f)
			}
		}
	}
}

func TestAMatrixBeyondItsBoundIsRefused(t *testing.T) {
	text := "version: 1\ndistros:\n- distro: debian\n  releases: [" + strings.Repeat("r%, ", 40) + "z]\nvariants:\n" + strings.Repeat("- name: v%\n", 40)
	for i := 0; strings.Contains(text, "%"); i++ {
		text = strings.Replace(text, "%", strings.Repeat("a", i%40+1), 1)
	}
	if _, err := spec.ReadMatrix(source, []byte(text)); err == nil || !strings.Contains(err.Error(), "comes to more than 1000 images") {
		t.Error(err)
	}
}

func FuzzReadMatrix(f *testing.F) {
	f.Add([]byte(wholeMatrix))
	f.Add([]byte("version: 1\ndistros: [&a debian, *a]\ninclude: [{distro: x, base: x}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := spec.ReadMatrix(source, data)
		if err == nil && len(m.Jobs) == 0 {
			t.Error("a matrix without jobs is no fault")
		}
	})
}

const matrixSchemaPath = "../../docs/matrix.schema.json"

func TestTheMatrixSchemaIsPublished(t *testing.T) {
	want := spec.MatrixSchema()
	if *update {
		if err := os.WriteFile(matrixSchemaPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(matrixSchemaPath)
	if err != nil || string(got) != string(want) {
		t.Errorf("%s is not as the table says: go test ./core/spec -update (%v)", matrixSchemaPath, err)
	}
}

func matrixSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(spec.MatrixSchema())))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("matrix.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("matrix.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheMatrixSchemaTakesWhatTheReaderTakes(t *testing.T) {
	s := matrixSchema(t)
	if err := checkSchema(s, []byte(wholeMatrix)); err != nil {
		t.Error(err)
	}
	for _, data := range []string{
		"version: 2\ndistros: [debian]\n", "version: 1\n", "version: 1\ndistros: debian\n", "version: 1\npackages: [vim]\ndistros: [debian]\n",
		"version: 1\ndistros: [debian]\ndefaults: {network: {alias: true}}\n", "version: 1\ndistros: [debian]\ndefaults: {release: sid}\n",
		"version: 1\ndistros: [{releases: [sid]}]\n", "version: 1\ndistros: [debian]\nvariants: [{name: A}]\n", "version: 1\ndistros: [debian]\nexclude: [{}]\n",
		"version: 1\ndistros: [debian]\noverride: [{packages: [vim]}]\n", "version: 1\ndistros: [debian]\ninclude: [{release: sid}]\n",
	} {
		_, err := spec.ReadMatrix(source, []byte(data))
		if bySchema := checkSchema(s, []byte(data)); bySchema == nil || err == nil {
			t.Errorf("the reader says %v and the schema %v of\n%s", err, bySchema, data)
		}
	}
}
