//go:build integration

package rootcache

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this needs root")
	}
	t.Skip("this needs root")
}

// world is a cache, and a directory beside it in which trees are made.
type world struct {
	*Cache
	dir, trees string
	warned     *[]string
}

// kinds are the file systems on which everything is to be true.
var kinds = []string{"as archives", "as snapshots"}

func newWorld(t testing.TB, kind string) world {
	t.Helper()
	needRoot(t)
	top := t.TempDir()
	if kind == "as snapshots" {
		mountBtrfs(t, top)
	}
	w := world{dir: filepath.Join(top, "cache"), trees: filepath.Join(top, "trees"), warned: new([]string)}
	must(t, os.Mkdir(w.trees, 0o700))
	c, err := Open(w.dir)
	must(t, err)
	c.Warn = func(message, _ string) { *w.warned = append(*w.warned, message) }
	w.Cache = c
	return w
}

func mountBtrfs(t testing.TB, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 256<<20))
	for _, argv := range [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// tree makes a tree of many small files and some of another kind.
func (w world) tree(t testing.TB, name string) *rootfs.Tree {
	t.Helper()
	path := filepath.Join(w.trees, name)
	must(t, rootfs.MakeRoot(path))
	for i := range 200 {
		dir := filepath.Join(path, "usr", fmt.Sprint(i%7))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), bytes.Repeat(fmt.Appendf(nil, "%d %x", i, sha256.Sum256(fmt.Append(nil, i))), 10), 0o644))
	}
	must(t, os.Link(filepath.Join(path, "usr/1/1"), filepath.Join(path, "link")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(path, "sym")))
	must(t, os.WriteFile(filepath.Join(path, "suid"), []byte("x"), 0o755))
	must(t, os.Chown(filepath.Join(path, "suid"), 1234, 1235))
	must(t, os.Chmod(filepath.Join(path, "suid"), 0o755|os.ModeSetuid))
	must(t, unix.Setxattr(filepath.Join(path, "suid"), "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	tree, err := rootfs.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func sumOf(t testing.TB, path string) string {
	t.Helper()
	tree, err := rootfs.Open(path)
	must(t, err)
	defer tree.Close() //nolint:errcheck // only read from
	sum := counter{hash: sha256.New()}
	must(t, archive.Write(t.Context(), &sum, tree, archive.WriteOptions{}))
	return sum.digest()
}

var facts = sdk.Facts{SSHUnits: []string{"ssh.service"}, Packages: []sdk.Package{{Name: "vim", Version: "1"}}}

func (w world) put(t testing.TB, k Key, tree *rootfs.Tree) Entry {
	t.Helper()
	release, err := w.Lock(t.Context(), k, nil)
	must(t, err)
	e, err := w.Put(t.Context(), k, tree, facts)
	must(t, errors.Join(err, release()))
	return e
}

// left lists what is in the cache that is no entry.
func (w world) left(t testing.TB) []string {
	t.Helper()
	names, err := os.ReadDir(w.dir)
	must(t, err)
	var all []string
	for _, n := range names {
		if !nameForm.MatchString(n.Name()) && n.Name() != locks {
			all = append(all, n.Name())
		}
	}
	held, err := os.ReadDir(w.path(locks))
	must(t, gone(err))
	for _, n := range held {
		all = append(all, "lock "+n.Name())
	}
	return all
}

func TestWhatIsPutComesBackToTheByte(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w, k := newWorld(t, kind), key(t, state, request())
			root := filepath.Join(w.trees, "root")
			var miss *Miss
			if _, err := w.Take(t.Context(), k, root); !errors.As(err, &miss) || miss.Damaged {
				t.Fatalf("taken from nothing: %v", err)
			}
			tree := w.tree(t, "made")
			want := sumOf(t, tree.Path())
			put := w.put(t, k, tree)
			if put.Tree != want {
				t.Errorf("its digest is %s and not %s", put.Tree, want)
			}
			// What becomes of the tree that was put is nothing to what is kept.
			must(t, os.WriteFile(filepath.Join(tree.Path(), "suid"), []byte("later"), 0o755))
			for _, name := range []string{"root", "again"} {
				e, err := w.Take(t.Context(), k, filepath.Join(w.trees, name))
				must(t, err)
				if got := sumOf(t, filepath.Join(w.trees, name)); got != want || e.Tree != want || len(e.Facts.SSHUnits) != 1 {
					t.Errorf("it came back as %s (%+v), want %s", got, e, want)
				}
				must(t, os.WriteFile(filepath.Join(w.trees, name, "own"), nil, 0o600))
			}
			var one, two bytes.Buffer
			must(t, w.Export(t.Context(), put.Digest, &one))
			must(t, w.Export(t.Context(), put.Digest, &two))
			if !bytes.Equal(one.Bytes(), two.Bytes()) {
				t.Error("exported twice it is not the same")
			}
			if left := w.left(t); len(left) > 0 || len(*w.warned) > 0 {
				t.Errorf("left behind: %q; warned: %q", left, *w.warned)
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

func tool(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

func TestOneOfManyMakesATreeAndTheOthersTakeIt(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w, k := newWorld(t, kind), key(t, state, request())
			tree := w.tree(t, "made")
			want := sumOf(t, tree.Path())
			var fills atomic.Int32
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					root := filepath.Join(w.trees, fmt.Sprint(i))
					release, err := w.Lock(t.Context(), k, nil)
					if err != nil {
						t.Error(err)
						return
					}
					_, err = w.Take(t.Context(), k, root)
					if errors.Is(err, ErrMiss) {
						fills.Add(1)
						time.Sleep(20 * time.Millisecond)
						_, err = w.Put(t.Context(), k, tree, facts)
						if err == nil {
							_, err = w.Take(t.Context(), k, root)
						}
					}
					if err := errors.Join(err, release()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if fills.Load() != 1 {
				t.Errorf("it was made %d times", fills.Load())
			}
			for i := range 8 {
				if got := sumOf(t, filepath.Join(w.trees, fmt.Sprint(i))); got != want {
					t.Errorf("%d has %s", i, got)
				}
			}
			if left := w.left(t); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			other := request()
			other.Release = "sid"
			release, err := w.Lock(t.Context(), k, nil)
			must(t, err)
			free, err := w.Lock(t.Context(), key(t, state, other), nil) // another key waits for nobody
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			waited := 0
			if _, err := w.Lock(ctx, k, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) || waited != 1 {
				t.Errorf("a lock that is held is taken: %v, %d", err, waited)
			}
			must(t, errors.Join(release(), free()))
		})
	}
}

func TestPruningKeepsWhatIsUsed(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			tree := w.tree(t, "made")
			var entries []Entry
			for i, release := range []string{"bookworm", "trixie", "sid"} {
				r := request()
				r.Release = release
				e := w.put(t, key(t, state, r), tree)
				used := time.Now().Add(time.Duration(i-10) * time.Hour)
				must(t, os.Chtimes(w.path(e.Digest, metaFile), used, used))
				entries = append(entries, e)
			}
			releases := func() (all []string) {
				list, err := w.List()
				must(t, err)
				for _, e := range list {
					all = append(all, e.Key.Release())
				}
				return all
			}
			if got := fmt.Sprint(releases()); got != "[sid trixie bookworm]" {
				t.Errorf("listed as %s", got)
			}
			// Taking is using.
			_, err := w.Take(t.Context(), entries[0].Key, filepath.Join(w.trees, "root"))
			must(t, err)
			if got := fmt.Sprint(releases()); got != "[bookworm sid trixie]" {
				t.Errorf("after one was taken they are %s", got)
			}
			removed, err := w.Prune(t.Context(), PruneOptions{MaxSize: 2 * entries[0].Size})
			must(t, err)
			if len(removed) != 1 || removed[0].Key.Release() != "trixie" {
				t.Errorf("for the size went %+v", removed)
			}
			r, err := w.open(entries[2].Digest)
			must(t, err)
			removed, err = w.Prune(t.Context(), PruneOptions{OlderThan: time.Hour})
			must(t, err)
			if len(removed) != 0 {
				t.Errorf("what is in use went: %+v", removed)
			}
			must(t, r.close())
			removed, err = w.Prune(t.Context(), PruneOptions{OlderThan: time.Hour})
			must(t, err)
			if len(removed) != 1 || removed[0].Key.Release() != "sid" {
				t.Errorf("for its age went %+v", removed)
			}
			// A bound that is less than one tree leaves the newest.
			w.MaxSize = 1
			w.put(t, entries[1].Key, tree)
			if got := fmt.Sprint(releases()); got != "[trixie]" {
				t.Errorf("under a small bound there are %s", got)
			}
			removed, err = w.Prune(t.Context(), PruneOptions{All: true})
			must(t, err)
			if len(removed) != 1 || len(releases()) != 0 || len(w.left(t)) > 0 {
				t.Errorf("of all went %+v; left: %q", removed, w.left(t))
			}
		})
	}
}

func TestACacheThatOthersCanWriteToIsRefused(t *testing.T) {
	w := newWorld(t, kinds[0])
	k := key(t, state, request())
	w.put(t, k, w.tree(t, "made"))
	var unsafe *UnsafeError
	check := func(what string) {
		t.Helper()
		if _, err := Open(w.dir); !errors.As(err, &unsafe) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := w.Lock(t.Context(), k, nil); !errors.As(err, &unsafe) {
			t.Errorf("%s, to put: %v", what, err)
		}
	}
	must(t, os.Chmod(w.dir, 0o777))
	check("its mode")
	must(t, errors.Join(os.Chmod(w.dir, 0o700), os.Chown(w.dir, 1234, 0)))
	check("its owner")
	must(t, errors.Join(os.Chown(w.dir, 0, 0), os.Rename(w.dir, w.dir+"-"), os.Symlink(w.dir+"-", w.dir)))
	check("a link")
}
