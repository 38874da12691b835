package pluginhost

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// linesOf runs a bootstrap and returns the lines that it reported.
func linesOf(t *testing.T, h *Host, mode string, grants Grants, options map[string]string) []string {
	t.Helper()
	s := startGood(t, h, mode, grants)
	req := grants.request()
	req.Options = options
	var recorder sdktest.Recorder
	if _, err := s.Bootstrap(t.Context(), req, &recorder); err != nil {
		t.Fatal(err)
	}
	return recorder.Lines()
}

func TestAPluginSeesNothingOfTheHostsEnvironment(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "canary")
	t.Setenv("HOME", "/home/canary")
	t.Setenv("PATH", os.Getenv("PATH")+":/canary")
	t.Setenv("https_proxy", "http://proxy.example.org:3128")
	h := newHost(t)
	grants := jobGrants(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("a key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(key+"-dir", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key+"-dir/repo", []byte("a mirror\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	grants.Readable = []string{key, key + "-dir", "/etc/passwd"}
	lines := linesOf(t, h, "look", grants, map[string]string{"read": key})
	all := strings.Join(lines, "\n")
	if strings.Contains(all, "canary") {
		t.Errorf("it sees the parent's environment:\n%s", all)
	}
	for _, want := range []string{
		"plugin: https_proxy=http://proxy.example.org:3128", "tool: https_proxy=http://proxy.example.org:3128",
		"plugin: HOME=/tmp/home", "plugin: LANG=C.UTF-8", "plugin: TMPDIR=/tmp",
		"stdin: /dev/null", "host: localhost", "null: works", "shm: works", "core: 0",
		"read: a key", "read: a mirror", "read-only",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, all)
		}
	}
	for _, line := range lines {
		for _, never := range []string{"tool: PLUGIN_", "tool: NSPAWN_BUILD_PLUGIN", "tool: -----BEGIN", "first: PLUGIN_"} {
			if strings.HasPrefix(line, never) {
				t.Errorf("its tools see %q", line)
			}
		}
		// First process, plugin, shell, and the shell's ls and pipes.
		if count, ok := strings.CutPrefix(line, "processes: "); ok && len(count) > 1 {
			t.Errorf("it sees %s processes", count)
		}
		if entries, ok := strings.CutPrefix(line, "tmp: "); ok {
			for _, entry := range strings.Fields(entries) {
				if entry != "home" && !strings.HasPrefix(entry, "nb") && !strings.HasPrefix(entry, "TestAPlugin") {
					t.Errorf("its /tmp has %s", entry)
				}
			}
		}
	}
}

func TestAPluginWritesOnlyToItsGrants(t *testing.T) {
	for name, remount := range map[string]bool{"": false, "without mount_setattr": true} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.remount = remount
			grants := jobGrants(t)
			other := t.TempDir()
			outside, err := os.MkdirTemp("/var", "nb") // not under what is hidden
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(outside) })
			own := filepath.Join(outside, "own")
			if err := os.Mkdir(own, 0o755); err != nil { //nolint:gosec // a tree's root
				t.Fatal(err)
			}
			grants.CacheDirectory = own
			got := linesOf(t, h, "write", grants, map[string]string{
				"a target": grants.Target, "b cache": own, "c work": grants.WorkDirectory,
				"d above cache": outside, "e etc": "/etc", "f root": "/root", "g run": "/run",
				"h var": "/var/lib", "i tmp": "/tmp", "j var tmp": "/var/tmp", "k other in tmp": other,
				"l cgroup": "/sys/fs/cgroup", "m dev": "/dev", "n plugins": shelf,
			})
			want := []string{
				"a target: writable", "b cache: writable", "c work: writable",
				"d above cache: read-only file system", "e etc: read-only file system",
				"f root: read-only file system", "g run: read-only file system",
				"h var: read-only file system", "i tmp: writable", "j var tmp: writable",
				"k other in tmp: no such file or directory", "l cgroup: read-only file system",
				"m dev: read-only file system", "n plugins: no such file or directory",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, dir := range []string{grants.Target, own, grants.WorkDirectory} {
				if _, err := os.Stat(filepath.Join(dir, "written")); err != nil {
					t.Error(err)
				}
			}
			for _, path := range []string{"/tmp/written", "/var/tmp/written", other + "/written"} {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("%s exists on the host", path)
				}
			}
		})
	}
}

func TestATargetMayBeOnAFileSystemWithoutDevices(t *testing.T) {
	h := newHost(t)
	grants := jobGrants(t)
	if err := unix.Mount("tmpfs", grants.Target, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(grants.Target, 0); err != nil {
			t.Error(err)
		}
	})
	s := startGood(t, h, "write", grants)
	if _, err := s.Bootstrap(t.Context(), grants.request(), &sdktest.Recorder{}); err != nil {
		t.Errorf("a device made in the target does not work: %v", err)
	}
}

func TestNothingOfAPluginOutlivesItsSession(t *testing.T) {
	h := newHost(t)
	grants := jobGrants(t)
	s := startGood(t, h, "messy", grants)
	req := grants.request()
	req.Options = map[string]string{"mark": "mess-" + filepath.Base(h.RuntimeDir)}
	if _, err := s.Bootstrap(t.Context(), req, &sdktest.Recorder{}); err != nil {
		t.Fatal(err)
	}
	for tries := 0; len(marked(req.Options["mark"])) < 2; tries++ {
		if tries == 500 {
			t.Fatal("the plugin left no daemons, so that this test shows nothing")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := marked(req.Options["mark"]); len(left) > 0 {
		t.Errorf("Close returned while there were still %q", left)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(grants.Target+"/proc", &st); err != nil || st.Type == unix.TMPFS_MAGIC && !tmpIsTmpfs() {
		t.Errorf("its mount is still there: %v", err)
	}
}

func tmpIsTmpfs() bool {
	var st unix.Statfs_t
	return unix.Statfs(os.TempDir(), &st) == nil && st.Type == unix.TMPFS_MAGIC
}
