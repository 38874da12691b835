//go:build integration

package rootcache

import (
	"archive/tar"
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func TestWhatIsExportedComesBackInAnotherCache(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w, k := newWorld(t, kind), key(t, state, request())
			tree := w.tree(t, "made")
			want := sumOf(t, tree.Path())
			put := w.put(t, k, tree)
			var one, two bytes.Buffer
			must(t, w.Export(t.Context(), put.Digest, &one))
			must(t, w.Export(t.Context(), put.Digest, &two))
			if !bytes.Equal(one.Bytes(), two.Bytes()) {
				t.Error("exported twice it is not the same")
			}
			t.Run("in another cache, of another kind", func(t *testing.T) {
				for _, other := range kinds {
					v := newWorld(t, other)
					must(t, v.Import(t.Context(), put, bytes.NewReader(one.Bytes())))
					e, err := v.Take(t.Context(), k, filepath.Join(v.trees, "root"))
					must(t, err)
					if got := sumOf(t, filepath.Join(v.trees, "root")); got != want || e.Tree != want {
						t.Errorf("%s it came back as %s", other, got)
					}
					var again bytes.Buffer
					must(t, v.Export(t.Context(), put.Digest, &again))
					if !bytes.Equal(one.Bytes(), again.Bytes()) {
						t.Errorf("%s it is exported as other bytes", other)
					}
				}
			})
			t.Run("what is imported is what was promised or nothing", func(t *testing.T) {
				wrong := put
				wrong.Tree = strings.Repeat("0", 64)
				for what, c := range map[string]struct {
					e    Entry
					blob []byte
				}{
					"another tree": {wrong, one.Bytes()}, "half": {put, one.Bytes()[:one.Len()/2]},
					"nothing": {put, nil}, "rubbish": {put, []byte("rubbish")},
				} {
					v := newWorld(t, kind)
					if err := v.Import(t.Context(), c.e, bytes.NewReader(c.blob)); err == nil || v.Has(put.Digest) {
						t.Errorf("%s is imported: %v", what, err)
					}
					if left := v.left(t); len(left) > 0 {
						t.Errorf("%s leaves %q", what, left)
					}
				}
			})
			t.Run("with a byte flipped it is refused or means the same", func(t *testing.T) {
				// A match found elsewhere in a run of zeros is the same zeros.
				const flips = 16
				refused := 0
				for n := range flips {
					flipped := bytes.Clone(one.Bytes())
					flipped[(2*n+1)*len(flipped)/(2*flips)] ^= 1
					v := newWorld(t, kind)
					if err := v.Import(t.Context(), put, bytes.NewReader(flipped)); err != nil {
						refused++
						if left := v.left(t); len(left) > 0 || v.Has(put.Digest) {
							t.Errorf("it leaves %q", left)
						}
						continue
					}
					_, err := v.Take(t.Context(), k, filepath.Join(v.trees, "root"))
					must(t, err)
					if got := sumOf(t, filepath.Join(v.trees, "root")); got != want {
						t.Errorf("it is served as %s, want %s", got, want)
					}
				}
				if refused < flips/2 {
					t.Errorf("%d of %d flipped bytes were noticed", refused, flips)
				}
			})
		})
	}
}

// What another cache says of a tree is held to what a plugin may say.
func TestWhatIsSaidOfAnImportedTreeIsHeldToTheRules(t *testing.T) {
	w, k := newWorld(t, kinds[0]), key(t, state, request())
	put := w.put(t, k, w.tree(t, "made"))
	var blob bytes.Buffer
	must(t, w.Export(t.Context(), put.Digest, &blob))
	bring := func(f sdk.Facts) (world, error) {
		v, e := newWorld(t, kinds[0]), put
		e.Facts = f
		return v, v.Import(t.Context(), e, bytes.NewReader(blob.Bytes()))
	}
	ssh := []string{"ssh.service"}
	for what, f := range map[string]sdk.Facts{
		"a million packages":       {SSHUnits: ssh, Packages: make([]sdk.Package, 1_000_000)},
		"a unit that leads away":   {SSHUnits: []string{"../../etc/x.service"}},
		"a host that is an option": {SSHUnits: ssh, ProbeHost: "-oProxyCommand=x"},
		"a command with a path":    {SSHUnits: ssh, PackageManager: "../sh"},
		"a digest that is none":    {SSHUnits: ssh, Packages: []sdk.Package{{Name: "a", SHA256: "x"}}},
	} {
		v, err := bring(f)
		if !errors.Is(err, sdk.ErrProtocol) || v.Has(put.Digest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	v, err := bring(sdk.Facts{SSHUnits: ssh, Packages: []sdk.Package{{Name: "a\x1b[31m", Version: "1\x07", License: "\x1b]0;x\x07MIT"}}, OSRelease: map[string]string{"NAME": "\x1b[2Jx"}})
	must(t, err)
	e, err := v.Take(t.Context(), k, filepath.Join(v.trees, "root"))
	must(t, err)
	if p := e.Facts.Packages[0]; p.Name != "a" || p.Version != "1" || p.License != "MIT" || e.Facts.OSRelease["NAME"] != "x" {
		t.Errorf("it is kept as %+v", e.Facts)
	}
}

// A megabyte can be a tree that fills a disk.
func TestATreeThatGrowsWhenItIsUnpackedIsNotImported(t *testing.T) {
	const size = 64 << 20
	var bomb bytes.Buffer
	packed, err := zstd.NewWriter(&bomb)
	must(t, err)
	stream := tar.NewWriter(packed)
	must(t, stream.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}))
	must(t, stream.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./bomb", Mode: 0o644, Size: size}))
	_, err = stream.Write(bytes.Repeat([]byte("x"), size))
	must(t, errors.Join(err, stream.Close(), packed.Close()))
	if bomb.Len() > 1<<20 {
		t.Fatalf("it has %d bytes", bomb.Len())
	}
	k := key(t, state, request())
	e := Entry{Key: k, Digest: k.Digest(), Tree: strings.Repeat("0", 64), Facts: facts}
	for _, kind := range kinds {
		w := newWorld(t, kind)
		w.MaxSize = size / 2
		if err := w.Import(t.Context(), e, bytes.NewReader(bomb.Bytes())); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", kind, err)
		}
		if left := w.left(t); len(left) > 0 || w.Has(e.Digest) {
			t.Errorf("%s: it leaves %q", kind, left)
		}
		// Where there is room, it is only another tree than was said.
		w.MaxSize = 4 * size
		if err := w.Import(t.Context(), e, bytes.NewReader(bomb.Bytes())); err == nil || errors.Is(err, ErrTooLarge) {
			t.Errorf("%s, with room: %v", kind, err)
		}
	}
}

func TestAnImportLeavesOthersOfTheDiskSomeRoom(t *testing.T) {
	w := newWorld(t, "as snapshots") // on a disk of 256 MiB
	w.MaxSize = -1
	must(t, w.prepare(t.Context()))
	if room := w.room(); room <= 0 || room > 240<<20 {
		t.Errorf("of the disk %d bytes may be taken", room)
	}
}
