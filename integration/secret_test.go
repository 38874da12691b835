//go:build integration

package integration

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// marker is a password that nothing else can hold by chance.
const marker = "mArKeR-7f3d9-pAsSwOrD"

// watchProcesses reads the command line and the environment of every process
// of the host, over and over, until the context ends. The channel then tells
// where the marker was seen, and how often was looked.
func watchProcesses(ctx context.Context, h *testhost.Host) <-chan sightings {
	done := make(chan sightings, 1)
	go func() {
		s := sightings{where: map[string]bool{}}
		for ctx.Err() == nil {
			for _, what := range []string{"cmdline", "environ"} {
				files, err := filepath.Glob(h.Path("/proc/[0-9]*/" + what))
				if err != nil {
					continue
				}
				for _, f := range files {
					text, err := os.ReadFile(f) // one that ended holds nothing
					if err == nil && bytes.Contains(text, []byte(marker)) {
						s.where[what+" of "+string(bytes.ReplaceAll(text, []byte{0}, []byte{' '}))] = true
					}
				}
			}
			s.looks++
		}
		done <- s
	}()
	return done
}

type sightings struct {
	where map[string]bool
	looks int
}

// unseen runs a command while the processes are watched, and checks that the
// password shows neither there, nor in what the command prints, nor in any
// file of the host but those that may hold it.
func unseen(t *testing.T, h *testhost.Host, exit int, c testhost.Command) testhost.Result {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	watch := watchProcesses(ctx, h)
	r := h.RunCommand(t, c)
	stop()
	seen := <-watch
	if seen.looks == 0 {
		t.Error("the processes were never looked at")
	}
	for where := range seen.where {
		t.Errorf("the password is in the %s", where)
	}
	if strings.Contains(r.Stdout+r.Stderr, marker) {
		t.Errorf("the password is printed: %s", r)
	}
	want(t, exit, r)
	files := h.Run(t, "grep", "--recursive", "--files-with-matches", "--devices=skip", "--text", marker,
		"/etc", "/run", "/var", "/root", "/home", "/tmp", "/usr/local")
	for file := range strings.Lines(files.Stdout) {
		if strings.TrimSpace(file) != passwordFile {
			t.Errorf("the password is in %s", file)
		}
	}
	if h.Systemd() && strings.Contains(h.MustRun(t, "journalctl", "--no-pager", "--output=export"), marker) {
		t.Error("the password is in the host's journal")
	}
	return r
}

const passwordFile = "/root/password" // the user's own

func TestAPasswordIsNowhereButInShadowAndThereHashed(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.WriteFile(t, passwordFile, marker+"\n", "0600")
			loud := []string{"--log-level", "debug", "--log-format", "json"}

			t.Run("from standard input", func(t *testing.T) {
				unseen(t, h, exitDone, testhost.Command{Stdin: marker + "\n", Args: fixture("box", append(loud, "--password-stdin")...)})
				shadow := h.MustRun(t, "grep", "^root:", "/root/containers/box/etc/shadow")
				if !strings.HasPrefix(shadow, "root:$y$") && !strings.HasPrefix(shadow, "root:$6$") {
					t.Errorf("root's entry is %q", shadow)
				}
				r := h.RunCommand(t, testhost.Command{
					Env: []string{"SSHPASS=" + marker},
					Args: []string{
						"sshpass", "-e", "ssh", "-o", "StrictHostKeyChecking=yes", "-o", "PubkeyAuthentication=no",
						"root@192.168.200.200", "true",
					},
				})
				want(t, exitDone, r)
			})
			t.Run("of a command that finds another machine there", func(t *testing.T) {
				unseen(t, h, exitExists, testhost.Command{Stdin: marker + "\n", Args: fixture("box", append(loud, "--password-stdin", "--memory-max", "2G")...)})
			})
			destroy(t, h, "box")
			t.Run("from a file", func(t *testing.T) {
				unseen(t, h, exitDone, testhost.Command{Args: fixture("box", append(loud, "--password-file", passwordFile)...)})
			})
			destroy(t, h, "box")
			t.Run("of a run that fails", func(t *testing.T) {
				unseen(t, h, exitBootstrap, testhost.Command{Args: fixture("box", append(loud, "--password-file", passwordFile, "--option", "fail=after", "--on-error", "keep")...)})
			})
			destroy(t, h, "box")
			t.Run("of a run that is killed", func(t *testing.T) {
				killAmid(t, h, "services", "box", fixture("box", "--password-file", passwordFile, "--log-level", "debug"))
				unseen(t, h, exitDone, testhost.Command{Args: []string{"nspawn-build", "status", "box"}})
			})
			destroy(t, h, "box")
			t.Run("one that cannot be read", func(t *testing.T) {
				unseen(t, h, exitUsage, testhost.Command{Stdin: marker + "\x00\n", Args: fixture("box", append(loud, "--password-stdin")...), Timeout: time.Minute})
			})
		})
	}
}

func TestAGeneratedPasswordIsPrintedOnceAndLogsIn(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	r := want(t, exitDone, h.Run(t, fixture("box", "--generate-password", "--log-level", "debug")...))
	var password string
	for word := range strings.FieldsSeq(r.Stdout) {
		if len(word) == 26 && strings.ToUpper(word) == word { // what crypto/rand.Text makes
			password = word
		}
	}
	if password == "" || strings.Count(r.Stdout+r.Stderr, password) != 1 {
		t.Fatalf("it is not printed once, on standard output: %s", r)
	}
	if found := h.Run(t, "grep", "-rl", "--devices=skip", password, "/etc", "/run", "/var", "/root"); found.Stdout != "" {
		t.Errorf("it is also in %s", found.Stdout)
	}
	want(t, exitDone, h.RunCommand(t, testhost.Command{
		Env:  []string{"SSHPASS=" + password},
		Args: []string{"sshpass", "-e", "ssh", "-o", "StrictHostKeyChecking=yes", "-o", "PubkeyAuthentication=no", "root@192.168.200.200", "true"},
	}))
	again := want(t, exitDone, h.Run(t, fixture("box", "--generate-password")...))
	if strings.Contains(again.Stdout+again.Stderr, password) || !strings.Contains(again.Stdout, "already") {
		t.Errorf("again: %s", again)
	}
}
