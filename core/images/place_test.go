package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func placeIn(t *testing.T, dir string, force bool) *place {
	t.Helper()
	p, err := newPlace(Wanted{Spec: spec.Spec{Name: "x"}, Image: spec.Image{Formats: []string{"tar"}}, Out: dir, Into: true, Force: force})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func fillPlace(t *testing.T, p *place, text string) {
	t.Helper()
	if err := p.begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.files() {
		if err := os.WriteFile(filepath.Join(p.out(), f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func onlyRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("hidden directories are root's")
	}
}

func TestAnImageAppearsWholeAndReplacesNothing(t *testing.T) {
	onlyRoot(t)
	dir := filepath.Join(t.TempDir(), "out")
	p := placeIn(t, dir, false)
	fillPlace(t, p, "one")
	if err := errors.Join(p.publish(), p.remove(context.Background())); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(p.files()) {
		t.Errorf("there are %v: %v", entries, err)
	}
	var exists *ExistsError
	if _, err := newPlace(Wanted{Spec: spec.Spec{Name: "x"}, Image: spec.Image{Formats: []string{"tar"}}, Out: dir, Into: true}); !errors.As(err, &exists) {
		t.Errorf("it would be overwritten: %v", err)
	}
	q := placeIn(t, dir, true)
	fillPlace(t, q, "two")
	if err := errors.Join(q.publish(), q.remove(context.Background())); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "x.tar")); err != nil || string(data) != "two" {
		t.Errorf("--force left %q: %v", data, err)
	}
}

func TestWhatComesInBetweenIsNotReplacedAndWhatWasThereComesBack(t *testing.T) {
	onlyRoot(t)
	dir := t.TempDir()
	p := placeIn(t, dir, false)
	fillPlace(t, p, "one")
	other := filepath.Join(dir, "x.spdx.json")
	if err := os.WriteFile(other, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	var exists *ExistsError
	if err := p.publish(); !errors.As(err, &exists) {
		t.Errorf("%v", err)
	}
	if err := p.remove(context.Background()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("there are %v: %v", entries, err)
	}
	if data, err := os.ReadFile(other); err != nil || string(data) != "somebody's" {
		t.Errorf("it is %q: %v", data, err)
	}
}

func TestWhatAKilledRunLeftIsSweptAndWhatRunsIsNot(t *testing.T) {
	onlyRoot(t)
	dir := t.TempDir()
	p := placeIn(t, dir, false)
	fillPlace(t, p, "one")
	var busy *BusyError
	if err := placeIn(t, dir, false).begin(context.Background()); !errors.As(err, &busy) {
		t.Errorf("two at once: %v", err)
	}
	if err := p.lock.Close(); err != nil { // as when it is killed
		t.Fatal(err)
	}
	q := placeIn(t, dir, false)
	if err := q.begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.hidden); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if err := q.remove(context.Background()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("there are %v: %v", entries, err)
	}
}

// An old signature is not that of the new sum, and systemd would refuse the image.
func TestASignatureOfAnImageThatIsReplacedGoesWithIt(t *testing.T) {
	onlyRoot(t)
	dir := t.TempDir()
	signed := Wanted{Spec: spec.Spec{Name: "x"}, Image: spec.Image{Formats: []string{"tar", "oci"}, Sign: "somebody"}, Out: dir, Into: true}
	p, err := newPlace(signed)
	if err != nil {
		t.Fatal(err)
	}
	fillPlace(t, p, "one")
	if err := errors.Join(p.publish(), p.remove(context.Background())); err != nil {
		t.Fatal(err)
	}
	signature := filepath.Join(dir, "x.tar.sha256.asc")
	if _, err := os.Stat(signature); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "x.tar.sha256")); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"x.tar", "x.manifest.json"} { // what comes in between
		q := placeIn(t, dir, true)
		fillPlace(t, q, "two")
		if err := os.Remove(filepath.Join(q.out(), in)); err != nil {
			t.Fatal(err)
		}
		if err := q.publish(); err == nil {
			t.Errorf("%s is published without being there", in)
		}
		if err := q.remove(context.Background()); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(signature); err != nil || string(data) != "one" {
			t.Errorf("the signature did not come back: %q: %v", data, err)
		}
	}
	q := placeIn(t, dir, true)
	fillPlace(t, q, "two")
	if err := errors.Join(q.publish(), q.remove(context.Background())); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(signature); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "x.tar.sha256")); err != nil || string(data) != "two" {
		t.Errorf("the sum is %q: %v", data, err)
	}
}
