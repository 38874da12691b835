package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

func mknodBlock(name string) error {
	return unix.Mknod(name, unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0)))
}

// tarOf is a stream of these entries; a file holds "payload".
func tarOf(t testing.TB, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len("payload"))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		must(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := io.WriteString(w, "payload")
			must(t, err)
		}
	}
	must(t, w.Close())
	return &b
}

func dir(name string) tar.Header  { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func link(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

func hard(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
}

// Nothing of this may reach what is outside, and all of it is told from a
// tree that cannot be written.
func TestAHostileArchiveReachesNothing(t *testing.T) {
	top := t.TempDir()
	outside := filepath.Join(top, "outside")
	must(t, os.Mkdir(outside, 0o755))
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("the host's\n"), 0o600))
	for name, attack := range map[string][]tar.Header{
		"a link then a file through it":      {dir("./"), link("out", outside), file("out/planted")},
		"a link then a directory through it": {link("out", outside), dir("out/planted")},
		"a link then a hard link through it": {link("out", outside), hard("mine", "out/secret")},
		"a link over a directory":            {dir("etc"), file("etc/a"), link("etc", outside), file("etc/planted")},
		"a file over a link":                 {link("etc", outside+"/secret"), file("etc")},
		"the root is a link":                 {link("./", outside), file("planted")},
		"the root twice":                     {dir("./"), dir("./")},
		"a directory twice":                  {dir("etc"), dir("etc")},
		"a file twice":                       {file("a"), file("./a")},
		"a hard link out":                    {hard("mine", outside+"/secret")},
		"a hard link up":                     {hard("mine", "../outside/secret")},
		"a hard link to nothing":             {hard("mine", "not-there")},
		"a hard link to a directory":         {dir("d"), hard("mine", "d")},
		"a name with dots":                   {file("../outside/planted")},
		"dots amid a name":                   {dir("a"), file("a/../../outside/planted")},
		"an absolute name":                   {file(outside + "/planted")},
		"a file below a file":                {file("a"), file("a/b")},
		"memory":                             {{Typeflag: tar.TypeChar, Name: "mem", Devmajor: 1, Devminor: 1}},
		"a disk":                             {{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}},
		"an unknown kind":                    {{Typeflag: 'Z', Name: "what", Format: tar.FormatUSTAR}},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(top, "root")
			must(t, rootfs.MakeRoot(root))
			defer func() { must(t, os.RemoveAll(root)) }()
			if err := archive.Extract(t.Context(), tarOf(t, attack...), root, archive.ExtractOptions{}); !errors.Is(err, archive.ErrBad) {
				t.Errorf("it says %v", err)
			}
			there, err := os.ReadDir(outside)
			must(t, err)
			var st unix.Stat_t
			must(t, unix.Stat(filepath.Join(outside, "secret"), &st))
			if len(there) != 1 || st.Nlink != 1 {
				t.Errorf("outside there are %v, and %d links to the secret", there, st.Nlink)
			}
		})
	}
}

func TestDirectoriesOnTheWayMayBeMissingOrComeLater(t *testing.T) {
	later := dir("usr")
	later.Mode = 0o700
	root, err := extracted(t, tarOf(t, file("usr/lib/os-release"), later), archive.ExtractOptions{})
	must(t, err)
	for name, want := range map[string]os.FileMode{"usr": 0o700, "usr/lib": 0o755} {
		info, err := os.Stat(filepath.Join(root, name))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
}

func TestWhatIsCutShortOrAlteredIsBad(t *testing.T) {
	plain := tarOf(t, dir("./"), file("a"), file("b"))
	for _, c := range []archive.Compression{archive.None, archive.Zstd, archive.Gzip, archive.XZ} {
		var b bytes.Buffer
		w, err := archive.Compress(&b, c, archive.CompressOptions{})
		must(t, err)
		_, err = w.Write(plain.Bytes())
		must(t, err)
		must(t, w.Close())
		whole := b.Bytes()
		cases := map[string][]byte{"half": whole[:len(whole)/2], "but the last bytes": whole[:len(whole)-8], "garbage behind": append(bytes.Clone(whole), "garbage, and more of it"...)}
		if c == archive.None {
			cases["but the last bytes"] = whole[:len(whole)-1024]
		} else {
			altered := bytes.Clone(whole)
			altered[len(altered)/2] ^= 0x40
			cases["altered"] = altered
		}
		for what, data := range cases {
			if _, err := unpacked(t, data, c); !errors.Is(err, archive.ErrBad) {
				t.Errorf("%q, %s: it says %v", c, what, err)
			}
		}
		if _, err := unpacked(t, whole, c); err != nil {
			t.Errorf("%q, whole: %v", c, err)
		}
	}
}

func unpacked(t testing.TB, data []byte, c archive.Compression) (string, error) {
	t.Helper()
	r, err := archive.Decompress(bytes.NewReader(data), c)
	if err != nil {
		return "", err
	}
	defer func() { must(t, r.Close()) }()
	return extracted(t, r, archive.ExtractOptions{})
}

// endless repeats itself.
type endless []byte

func (e endless) Read(p []byte) (int, error) { return copy(p, e), nil }

func TestAnEndlessStreamEnds(t *testing.T) {
	limit := archive.ExtractOptions{MaxBytes: 64 << 20, MaxFiles: 1000}
	huge := tar.Header{Typeflag: tar.TypeReg, Name: "huge", Size: 1 << 50, Format: tar.FormatPAX}
	var start bytes.Buffer
	w := tar.NewWriter(&start)
	must(t, w.WriteHeader(&huge))
	zeros := endless(make([]byte, 1<<16))
	for name, stream := range map[string]io.Reader{
		"a file without end": io.MultiReader(&start, zeros),
		"zeros behind it":    io.MultiReader(tarOf(t, file("a")), zeros),
		"entries without end": func() io.Reader {
			r, w := io.Pipe()
			go func() {
				out := tar.NewWriter(w)
				for i := 0; out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("x", i%200+1) + string(rune('a'+i%26))}) == nil; i++ {
				}
			}()
			t.Cleanup(func() { must(t, r.Close()) })
			return r
		}(),
		"a bomb of zstd": bomb(t),
	} {
		if _, err := extracted(t, stream, limit); !errors.Is(err, archive.ErrBad) {
			t.Errorf("%s: it says %v", name, err)
		}
	}
}

// bomb is little that becomes a lot.
func bomb(t testing.TB) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	must(t, err)
	out := tar.NewWriter(w)
	must(t, out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bomb", Size: 1 << 30}))
	_, err = io.Copy(out, io.LimitReader(endless(make([]byte, 1<<20)), 1<<30))
	must(t, err)
	must(t, out.Close())
	must(t, w.Close())
	if b.Len() > 1<<20 {
		t.Fatalf("the bomb is of %d bytes", b.Len())
	}
	r, err := archive.Decompress(&b, archive.Zstd)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

func TestHolesStayHoles(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	const size = 64 << 20
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "sparse", Size: size, Mode: 0o600}))
	_, err := io.Copy(w, io.LimitReader(endless(make([]byte, 1<<16)), size))
	must(t, err)
	must(t, w.Close())
	root, err := extracted(t, &b, archive.ExtractOptions{})
	must(t, err)
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(root, "sparse"), &st))
	if st.Size != size || st.Blocks > 8 {
		t.Errorf("of %d bytes %d are on disk", st.Size, st.Blocks*512)
	}
}
