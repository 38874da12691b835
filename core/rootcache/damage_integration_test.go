//go:build integration

package rootcache

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever is done to an entry, the tree that comes out is the one that went in,
// or none does.
func TestADamagedTreeIsNeverServed(t *testing.T) {
	flip := func(file string, at float64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, file)
			b, err := os.ReadFile(path)
			must(t, err)
			b[int(at*float64(len(b)-1))] ^= 0x10
			must(t, os.WriteFile(path, b, 0o600))
		}
	}
	cut := func(file string, to float64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			info, err := os.Stat(filepath.Join(dir, file))
			must(t, err)
			must(t, os.Truncate(filepath.Join(dir, file), int64(to*float64(info.Size()))))
		}
	}
	replace := func(file string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, file)
			elsewhere := filepath.Join(filepath.Dir(path), "elsewhere-"+rand.Text()) // a snapshot stays in its directory
			must(t, os.Rename(path, elsewhere))
			must(t, os.Symlink(elsewhere, path))
		}
	}
	unlock := func(dir string) {
		tool(t, "btrfs", "property", "set", "-ts", filepath.Join(dir, snapshot), "ro", "false")
	}
	lock := func(dir string) {
		tool(t, "btrfs", "property", "set", "-ts", filepath.Join(dir, snapshot), "ro", "true")
	}
	both := map[string]func(*testing.T, string){
		"the entry is a link":  replace(""),
		"its notes are a link": replace(metaFile),
		"its notes are gone":   func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, metaFile))) },
		"its notes are cut":    cut(metaFile, 0.5),
		"its notes are empty":  cut(metaFile, 0),
		"its notes are another's": func(t *testing.T, dir string) {
			path := filepath.Join(dir, metaFile)
			b, err := os.ReadFile(path)
			must(t, err)
			_, b, _ = bytes.Cut(b, []byte("\n"))
			b = bytes.Replace(b, []byte("git vim"), []byte("git git"), 1)
			must(t, os.WriteFile(path, append([]byte(digest(b)+"\n"), b...), 0o600))
		},
		"it can be written to":        func(t *testing.T, dir string) { must(t, os.Chmod(dir, 0o777)) },
		"it is another's":             func(t *testing.T, dir string) { must(t, os.Chown(dir, 1234, 0)) },
		"its notes can be written to": func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, metaFile), 0o666)) },
		"it is a file": func(t *testing.T, dir string) {
			must(t, os.Rename(dir, dir+"-"))
			must(t, os.WriteFile(dir, nil, 0o600))
		},
	}
	archives := map[string]func(*testing.T, string){
		"the archive is cut by a byte": func(t *testing.T, dir string) {
			info, err := os.Stat(filepath.Join(dir, blobFile))
			must(t, err)
			must(t, os.Truncate(filepath.Join(dir, blobFile), info.Size()-1))
		},
		"the archive is a link": replace(blobFile),
		"the archive is gone":   func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, blobFile))) },
		"the archive is a pipe": func(t *testing.T, dir string) {
			p := filepath.Join(dir, blobFile)
			must(t, os.Remove(p))
			must(t, unix.Mkfifo(p, 0o600))
		},
		"the archive is another's": func(t *testing.T, dir string) { must(t, os.Chown(filepath.Join(dir, blobFile), 1234, 0)) },
		"the archive is longer": func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, blobFile), os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString("more")
			must(t, errors.Join(err, f.Close()))
		},
	}
	for i := range 11 {
		at := float64(i) / 10
		archives[fmt.Sprintf("a byte of the archive at %.1f", at)] = flip(blobFile, at)
		both[fmt.Sprintf("a byte of its notes at %.1f", at)] = flip(metaFile, at)
		if i < 10 {
			archives[fmt.Sprintf("the archive is cut at %.1f", at)] = cut(blobFile, at)
		}
	}
	snapshots := map[string]func(*testing.T, string){
		"the snapshot is writable": func(_ *testing.T, dir string) { unlock(dir) },
		"the snapshot was edited": func(t *testing.T, dir string) {
			unlock(dir)
			must(t, os.WriteFile(filepath.Join(dir, snapshot, "usr/1/1"), []byte("evil"), 0o644))
			lock(dir)
		},
		"a mode in the snapshot": func(t *testing.T, dir string) {
			unlock(dir)
			must(t, os.Chmod(filepath.Join(dir, snapshot, "usr"), 0o777))
			lock(dir)
		},
		"another snapshot": func(t *testing.T, dir string) {
			path := filepath.Join(dir, snapshot)
			must(t, os.Rename(path, path+"-"))
			tool(t, "btrfs", "subvolume", "snapshot", "-r", path+"-", path)
		},
		"the snapshot is a link": replace(snapshot),
		"the snapshot is a directory": func(t *testing.T, dir string) {
			p := filepath.Join(dir, snapshot)
			must(t, os.Rename(p, p+"-"))
			must(t, os.Mkdir(p, 0o755))
		},
		"the snapshot is gone": func(t *testing.T, dir string) { p := filepath.Join(dir, snapshot); must(t, os.Rename(p, p+"-")) },
	}
	for _, kind := range kinds {
		w := newWorld(t, kind)
		tree := w.tree(t, "made")
		want, k := sumOf(t, tree.Path()), key(t, state, request())
		own := archives
		if kind == "as snapshots" {
			own = snapshots
		}
		n := 0
		for _, cases := range []map[string]func(*testing.T, string){both, own} {
			for what, damage := range cases {
				t.Run(kind+"/"+what, func(t *testing.T) {
					n++
					root := filepath.Join(w.trees, fmt.Sprint("root", n))
					e := w.put(t, k, tree)
					damage(t, w.path(e.Digest))
					before := len(*w.warned)
					h, err := w.Check(t.Context())
					if err != nil || h.Sound != 0 || len(h.Damaged) != 1 {
						t.Errorf("checked, it is %+v, %v", h, err)
					}
					_, err = os.Lstat(w.path(e.Digest)) // it is not the check that removes it
					must(t, err)
					var miss *Miss
					if _, err := w.Take(t.Context(), k, root); !errors.As(err, &miss) || !miss.Damaged {
						t.Fatalf("it is taken: %v", err)
					}
					if _, err := os.Lstat(root); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("something of it is there: %v", err)
					}
					if len(*w.warned) != before+1 {
						t.Errorf("warned %q", (*w.warned)[before:])
					}
					if w.Has(e.Digest) {
						t.Error("it is there still")
					}
					// Made anew, it is served.
					w.put(t, k, tree)
					_, err = w.Take(t.Context(), k, root)
					must(t, err)
					if got := sumOf(t, root); got != want {
						t.Errorf("made anew it is %s", got)
					}
					if h, err = w.Check(t.Context()); err != nil || h.Sound != 1 || len(h.Damaged)+h.Half != 0 {
						t.Errorf("made anew and checked, it is %+v, %v", h, err)
					}
				})
			}
		}
	}
}
