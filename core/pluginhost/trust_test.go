package pluginhost

import (
	"bytes"
	bytesof "encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// install puts a copy of the good plugin into a directory of its own with a
// lock, and returns its path.
func install(t *testing.T) string {
	t.Helper()
	return installAs(t, func(path string) error { return copyFile(listing("good").Path, path) })
}

// installScript does it with a plugin that is small and cannot be started.
func installScript(t *testing.T) string {
	t.Helper()
	return installAs(t, func(path string) error {
		return os.WriteFile(path, []byte("#!/bin/sh\nexit 3\n"), 0o755) //nolint:gosec // a program
	})
}

func installAs(t *testing.T, put func(path string) error) string {
	t.Helper()
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as an installed one
		t.Fatal(err)
	}
	path := filepath.Join(dir, sdk.BinaryPrefix+"good")
	must(t, put(path))
	if err := WriteLock(t.Context(), dir, filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPluginThatOthersCouldHaveChangedIsNotRun(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string // in the reason; "" means that it is run
	}{
		"as installed":             {func(*testing.T, string) {}, ""},
		"binary writable by group": {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o775)) }, "can be written by others than its owner (mode 0775)"},
		"binary writable by all":   {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o757)) }, "can be written by others"},
		"binary of somebody else":  {func(t *testing.T, p string) { must(t, os.Chown(p, 65534, 65534)) }, "belongs to user 65534 and not to root"},
		"binary not executable":    {func(t *testing.T, p string) { must(t, os.Chmod(p, 0o644)) }, "is not executable"},
		"directory writable by all": {
			func(t *testing.T, p string) { must(t, os.Chmod(filepath.Dir(p), 0o777)) },
			"plugins, which leads to it, can be written by others",
		},
		"directory writable by all, sticky": {
			func(t *testing.T, p string) { must(t, os.Chmod(filepath.Dir(p), 0o777|os.ModeSticky)) }, "",
		},
		"directory of somebody else": {
			func(t *testing.T, p string) { must(t, os.Chown(filepath.Dir(p), 65534, 0)) }, "which leads to it, belongs to user 65534",
		},
		"ancestor writable by group": {
			func(t *testing.T, p string) { must(t, os.Chmod(filepath.Dir(filepath.Dir(p)), 0o775)) }, "which leads to it, can be written",
		},
		"lock writable by all": {
			func(t *testing.T, p string) { must(t, os.Chmod(filepath.Join(filepath.Dir(p), lockName), 0o666)) },
			"plugins.lock is not used: it can be written by others",
		},
		"lock of somebody else": {
			func(t *testing.T, p string) { must(t, os.Chown(filepath.Join(filepath.Dir(p), lockName), 65534, 0)) },
			"plugins.lock is not used: it belongs to user 65534",
		},
		"no lock": {
			func(t *testing.T, p string) { must(t, os.Remove(filepath.Join(filepath.Dir(p), lockName))) }, "there is no",
		},
		"lock that is none": {
			func(t *testing.T, p string) {
				must(t, os.WriteFile(filepath.Join(filepath.Dir(p), lockName), []byte("{"), 0o600))
			},
			"is not a lock file",
		},
		"lock of the future": {
			func(t *testing.T, p string) {
				must(t, os.WriteFile(filepath.Join(filepath.Dir(p), lockName), []byte(`{"version":2}`), 0o600))
			}, "its format has version 2",
		},
		"lock without it": {
			func(t *testing.T, p string) {
				must(t, os.WriteFile(filepath.Join(filepath.Dir(p), lockName), []byte(`{"version":1}`), 0o600))
			}, "does not list it",
		},
		"lock of another file of its name": {
			func(t *testing.T, p string) {
				must(t, os.Rename(p, p+"-x"))
				must(t, os.Mkdir(filepath.Dir(p)+"/sub", 0o755))
				must(t, os.Rename(p+"-x", filepath.Dir(p)+"/sub/"+filepath.Base(p)))
			}, "no such file",
		},
		"another content": {
			func(t *testing.T, p string) {
				f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
				must(t, err)
				_, err = f.WriteString("x")
				must(t, errors.Join(err, f.Close()))
			}, "its sha256 is not the one in",
		},
		"binary is a link": {
			func(t *testing.T, p string) { must(t, os.Rename(p, p+".real")); must(t, os.Symlink(p+".real", p)) }, "",
		},
		"binary is a link of somebody else": {
			func(t *testing.T, p string) {
				must(t, os.Rename(p, p+".real"))
				must(t, os.Symlink(p+".real", p))
				must(t, os.Lchown(p, 65534, 65534))
				must(t, os.Chmod(filepath.Dir(p), 0o777|os.ModeSticky))
			}, "belongs to user 65534",
		},
		"binary is a link to another place": {
			func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Symlink("/bin/sh", p)) }, "its sha256 is not the one",
		},
		"binary is a link to itself": {
			func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Symlink(p, p)) }, "too many symbolic links",
		},
		"binary is a directory": {
			func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Mkdir(p, 0o755)) }, "is not a regular file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := installScript(t)
			c.spoil(t, path)
			b, err := (&Host{}).verify(path)
			if err == nil {
				b.close()
			}
			if c.want == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			var refused *RefusedError
			if errors.As(err, &refused) && refused.Path == "" {
				t.Errorf("refused without its path: %v", err)
			}
		})
	}
}

func TestAPluginThatIsSwappedAfterTheCheckIsNotRun(t *testing.T) {
	h := newHost(t)
	path := install(t)
	other := listing("panic-early").Path

	t.Run("between list and start", func(t *testing.T) {
		found := Listing{Name: "good", Path: path, SHA256: strings.Repeat("0", 64)}
		if _, err := h.Start(t.Context(), found, Grants{}); err == nil || !strings.Contains(err.Error(), "was replaced since it was listed") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("between check and start, by another file", func(t *testing.T) {
		b, err := h.verify(path)
		must(t, err)
		defer b.close()
		must(t, os.Rename(path, path+".aside"))
		must(t, copyFile(other, path))
		got, err := hash(b.file)
		must(t, err)
		if got != b.sum {
			t.Error("the file that would be run is not the one that was verified")
		}
		must(t, os.Rename(path+".aside", path))
	})
	t.Run("between check and start, in place", func(t *testing.T) {
		b, err := h.verify(path)
		must(t, err)
		defer b.close()
		time.Sleep(20 * time.Millisecond) // ctime is as fine as the kernel's tick
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt([]byte{0}, 8) // padding of the ELF header
		must(t, errors.Join(err, f.Close()))
		p := &process{
			name: "good", self: os.Args[0], binary: b, output: &output{log: h.log()},
			order: order{Argv: []string{"good"}, Stamp: b.stamp},
		}
		must(t, p.start())
		must(t, p.settle(5*time.Second))
		err = p.verdict()
		if err == nil || !strings.Contains(err.Error(), "was changed after it was verified") {
			t.Errorf("got %v", err)
		}
		_ = p.handshook.Close()
	})
}

func TestAPluginForAnotherMachineIsNamedAsSuch(t *testing.T) {
	path := installScript(t)
	var header bytes.Buffer
	header.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	const alpha = 0x9026
	for _, field := range []any{
		uint16(2), uint16(alpha), uint32(1), uint64(0x1000), uint64(64), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(0), uint16(64), uint16(0), uint16(0),
	} {
		must(t, bytesof.Write(&header, bytesof.LittleEndian, field))
	}
	must(t, os.WriteFile(path, header.Bytes(), 0o755)) //nolint:gosec // a program
	must(t, WriteLock(t.Context(), filepath.Dir(path), filepath.Join(filepath.Dir(path), lockName)))
	_, err := (&Host{}).verify(path)
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "it is built for alpha, and this machine is ") {
		t.Errorf("got %v", err)
	}
}

func TestAScriptCanBeAPlugin(t *testing.T) {
	h := newHost(t)
	path := installScript(t)
	script := "#!/bin/sh\necho \"script $0\" >&2\nexit 7\n"
	must(t, os.WriteFile(path, []byte(script), 0o755)) //nolint:gosec // a program
	must(t, WriteLock(t.Context(), filepath.Dir(path), filepath.Join(filepath.Dir(path), lockName)))
	_, err := h.Start(t.Context(), Listing{Name: "good", Path: path}, Grants{})
	var died *DiedError
	if !errors.As(err, &died) || died.How != "exit status 7" || len(died.Tail) != 1 || !strings.HasPrefix(died.Tail[0], "script ") {
		t.Errorf("got %v, %+v", err, died)
	}
	must(t, os.WriteFile(path, []byte("neither program nor script"), 0o755)) //nolint:gosec // a program
	must(t, WriteLock(t.Context(), filepath.Dir(path), filepath.Join(filepath.Dir(path), lockName)))
	_, err = h.Start(t.Context(), Listing{Name: "good", Path: path}, Grants{})
	if err == nil || !strings.Contains(err.Error(), "could not be started: starting it: exec format error") {
		t.Errorf("got %v", err)
	}
}
