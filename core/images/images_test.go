package images

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// example is the manifest of an image of three packages, two of which differ in
// a character that no SPDX identifier has.
func example() Manifest {
	return Manifest{
		Version: ManifestVersion, Name: "box", Digest: strings.Repeat("ab", 32), SourceDateEpoch: 1700000000, Distro: "debian", Release: "trixie", Arch: "x86_64",
		Tool:      Maker{Name: "nspawn-build", Version: "1.0"},
		Artifacts: []Artifact{{Format: image.Tar, File: "box.tar"}},
		Facts:     Facts{PackageManager: "apt-get", OSRelease: map[string]string{"ID": "debian", "NAME": "Debian GNU/Linux", "VERSION_ID": "13"}},
		Packages: []Package{
			{Name: "g++", Version: "4:14.2", Architecture: "amd64", License: "GPL-3", Source: "gcc-defaults", SourceVersion: "1.2", SHA256: strings.Repeat("0", 64)},
			{Name: "g--", Version: "4:14.2", Architecture: "amd64"},
			{Name: "libc6", Version: "2.41-12", Architecture: "amd64"},
		},
	}
}

func TestAnSBOMIsValidAndTheSameEachTime(t *testing.T) {
	data, err := SBOM(example())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := spdxjson.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Error(err)
	}
	if len(doc.Packages) != 4 || len(doc.Relationships) != 4 {
		t.Errorf("it has %d packages and %d relationships", len(doc.Packages), len(doc.Relationships))
	}
	for _, text := range []string{`"pkg:deb/debian/g%2B%2B@4:14.2?arch=amd64&distro=debian-13"`, `"created": "2023-11-14T22:13:20Z"`, `"primaryPackagePurpose": "OPERATING_SYSTEM"`} {
		if !strings.Contains(string(data), text) {
			t.Errorf("%s is missing in\n%s", text, data)
		}
	}
	again, err := SBOM(example())
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("the second time it is different: %v", err)
	}
}

// TestAnSBOMSaysWhoHandsOnWhat: the minimum elements of the NTIA ask it of each
// component. That nobody knows is said too.
func TestAnSBOMSaysWhoHandsOnWhat(t *testing.T) {
	labelled := example()
	labelled.Spec.Labels = map[string]string{"org.opencontainers.image.vendor": "Example Works"}
	for image, m := range map[string]Manifest{"NOASSERTION": example(), "Organization: Example Works": labelled} {
		data, err := SBOM(m)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			CreationInfo struct{ Creators []string }
			Packages     []struct{ Name, Supplier string }
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		for _, p := range doc.Packages {
			want := "Organization: Debian GNU/Linux"
			if p.Name == m.Name {
				want = image
			}
			if p.Supplier != want {
				t.Errorf("%s is of %q, want %q", p.Name, p.Supplier, want)
			}
		}
		if by := doc.CreationInfo.Creators; by[0] != "Tool: nspawn-build-1.0" || len(by) != 1+len(m.Spec.Labels) {
			t.Errorf("it is by %q", by)
		}
	}
}

func TestPackagesHaveTheirURLs(t *testing.T) {
	for want, c := range map[string]struct {
		manager string
		os      map[string]string
		p       Package
	}{
		"pkg:rpm/fedora/bash@5.2-1.fc44?arch=x86_64&distro=fedora-44&epoch=1": {"dnf", map[string]string{"ID": "fedora", "VERSION_ID": "44"}, Package{Name: "bash", Version: "1:5.2-1.fc44", Architecture: "x86_64"}},
		"pkg:alpm/arch/bash@5.2-1?arch=x86_64":                                {"pacman", map[string]string{"ID": "arch"}, Package{Name: "bash", Version: "5.2-1", Architecture: "x86_64"}},
		"":                                                                    {"apk", map[string]string{"ID": "alpine"}, Package{Name: "bash", Version: "5"}},
	} {
		if got := PURL(c.p, Facts{PackageManager: c.manager, OSRelease: c.os}); got != want {
			t.Errorf("it is %q, want %q", got, want)
		}
	}
}

func TestALockFileSaysWhatItsImageWasMadeOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box.lock.json")
	data, err := encode(lockOf(example(), time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := readLock(path)
	if err != nil {
		t.Fatal(err)
	}
	s := spec.Spec{Distro: "debian"}
	if err := lock.apply(&s); err != nil || s.Release != "trixie" || s.Arch != "x86_64" || len(lock.Packages) != 3 || lock.Epoch != 1700000000 {
		t.Errorf("%v: %+v %+v", err, s, lock)
	}
	s.Release = "bookworm"
	var bad spec.Invalid
	if err := lock.apply(&s); !errors.As(err, &bad) || bad[0].Field != "release" || bad[0].Hint == "" {
		t.Errorf("another release is taken: %v", err)
	}
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "x", "another version": `{"version":2}`, "no packages": `{"version":1}`,
		"a package without a version": `{"version":1,"packages":[{"name":"a"}]}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readLock(path); !errors.As(err, &bad) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

func TestAManifestKnowsItsImages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with[brackets]")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "box.manifest.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(filepath.Join(dir, "box.tar"))
	if got, again := json.Marshal(m); err != nil || again != nil || string(got) != string(data) {
		t.Errorf("%v: it is\n%s, want\n%s", err, got, data)
	}
	if _, err := ReadManifest(filepath.Join(dir, "other.tar")); !errors.Is(err, ErrNoManifest) {
		t.Errorf("it is another's too: %v", err)
	}
}

func TestWhatIsOfTheHostIsNotInAManifest(t *testing.T) {
	s := spec.Spec{
		Directory: "/home/ci/x", Keyring: "/home/ci/keys.gpg", Mirrors: []string{"file:///home/ci/mirror", "http://user:secret@mirror.invalid/", "http://mirror.invalid/"},
		Customize: spec.Customize{Copies: []spec.Copy{{Source: "/home/ci/app", Target: "/opt/app"}}, Scripts: []string{"/home/ci/setup.sh"}},
	}
	data, err := json.Marshal(anonymous(s))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "/home/ci") || strings.Contains(string(data), "secret") || s.Customize.Scripts[0] != "/home/ci/setup.sh" {
		t.Errorf("%s", data)
	}
}

func TestAManifestSaysWhereItsPackagesAreFrom(t *testing.T) {
	mirrors := []string{"http://user:secret@mirror.invalid/", "http://mirror.invalid/", "file:///home/ci/mirror"}
	one := repositoryOf(mirrors, map[string]string{"main": "1", "security": "2"})
	if diff := cmp.Diff([]string{"http://mirror.invalid/"}, one.Mirrors); diff != "" || len(one.State) != 64 {
		t.Errorf("%+v", one)
	}
	if two := repositoryOf(mirrors, map[string]string{"main": "1", "security": "3"}); two.State == one.State {
		t.Error("repositories that hold something else are of the same state")
	}
	if none := repositoryOf(nil, nil); none.State != "" || len(mirrors) != 3 {
		t.Errorf("%+v of %q", none, mirrors)
	}
}

func TestToolsThatHaveOtherVersionsAreNamed(t *testing.T) {
	before, after := example(), example()
	before.Plugin, after.Plugin = &Maker{Name: "debootstrap", Version: "1.0"}, &Maker{Name: "debootstrap", Version: "1.1"}
	before.Engine, after.Engine = "mmdebstrap 1.5", "mmdebstrap 1.5"
	before.Tools, after.Tools = []Maker{{Name: "xz", Version: "5.4.1"}, {Name: "sqfstar", Version: "4.5"}}, []Maker{{Name: "resize2fs", Version: "1.47"}, {Name: "xz", Version: "5.8.1"}}
	want := []ToolChange{{"plugin debootstrap", "1.0", "1.1"}, {"xz", "5.4.1", "5.8.1"}}
	if diff := cmp.Diff(want, toolChanges(before.makers(), after.makers())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsInstalledIsReadFromTextDatabases(t *testing.T) {
	status := "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\nDescription: x\n Package: no\n\n" +
		"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: libx\nStatus: install ok installed\nSource: x (1:2)\nVersion: 3\n"
	want := []sdk.Package{{Name: "bash", Version: "5.2", Architecture: "amd64"}, {Name: "libx", Version: "3", Source: "x", SourceVersion: "1:2"}}
	if diff := cmp.Diff(want, dpkgPackages(status)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := alpmPackage("%NAME%\nbash\n\n%VERSION%\n5.2-1\n\n%ARCH%\nx86_64\n\n%LICENSE%\nGPL-3.0-or-later\n")
	if diff := cmp.Diff(sdk.Package{Name: "bash", Version: "5.2-1", Architecture: "x86_64", License: "GPL-3.0-or-later"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	told := []sdk.Package{{Name: "bash", Version: "5.2", Architecture: "amd64", License: "GPL"}, {Name: "removed", Version: "1"}}
	if all := merged(want, told); len(all) != 2 || all[0].License != "GPL" {
		t.Errorf("%+v", all)
	}
}

func TestPackagesAreComparedByNameAndArchitecture(t *testing.T) {
	got := packageChanges(
		[]sdk.Package{{Name: "a", Version: "1"}, {Name: "b", Version: "1"}, {Name: "c", Version: "1", Architecture: "amd64"}},
		[]sdk.Package{{Name: "a", Version: "1"}, {Name: "b", Version: "2"}, {Name: "c", Version: "1", Architecture: "i386"}},
	)
	want := []PackageChange{{Name: "b", Before: "1", After: "2"}, {Name: "c", Arch: "amd64", Before: "1"}, {Name: "c", Arch: "i386", After: "1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestALockOfAnImageWithoutATimeHasOne(t *testing.T) {
	m := example()
	m.SourceDateEpoch = 0
	now := time.Unix(1_750_000_000, 0)
	if l := lockOf(m, now); l.Epoch != now.Unix() {
		t.Errorf("what is made of it has the times of %d, want %d", l.Epoch, now.Unix())
	}
}
