package unitfile

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const unitsIn = "/usr/lib/systemd/system"

// units are enabled both by systemctl and by Links.
var units = map[string]string{
	"a.service":   "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target graphical.target\nRequiredBy=x.target\nAlias=b.service a.service",
	"q.service":   "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=\"w.target\" \\\n x.target\nWantedBy=\nWantedBy=y.target %N.target",
	"c-d.socket":  "[Socket]\nListenStream=1\n[Install]\nWantedBy=sockets.target %p.target %j.target",
	"g@.service":  "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\nAlias=autovt@.service",
	"h@.service":  "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=foo@.target %p@%i.target",
	"i@.service":  "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlias=j@k.service",
	"k@.service":  "[Service]\nExecStart=/bin/true\n[Install]\nAlias=l@m.service n@.service",
	"up.service":  "[Service]\nExecStart=/bin/true\n[Install]\nUpheldBy=y.target\nWantedBy=y.target",
	"bad.service": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=../../../x.target",
	"sok.service": "[Service]\nExecStart=/bin/true\n[Install]\nAlias=sok.socket",
}

// The links are made by us because systemctl --root follows links out of a
// tree that is not trusted; they must be the ones that it would have made.
func TestLinksAreThoseThatSystemctlMakes(t *testing.T) {
	systemctl, err := exec.LookPath("systemctl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	upholds := version(t, systemctl) >= 254
	enabled := []string{
		"a.service", "q.service", "c-d.socket", "g@.service", "g@tty3.service", "h@.service", "h@k.service",
		"i@.service", "i@k.service", "k@.service", "up.service", "bad.service", "sok.service",
	}
	for _, name := range enabled {
		t.Run(name, func(t *testing.T) {
			n := splitUnit(name)
			if n.at {
				n.instance = ""
			}
			content, file := units[n.String()], filepath.Join(unitsIn, n.String())
			want, refused := systemctlEnable(t, systemctl, name, file, content)

			in, err := ParseInstall([]byte(content))
			if err != nil {
				t.Fatal(err)
			}
			if !upholds {
				in.UpheldBy = nil
			}
			got, err := Links(name, file, in)
			if (err != nil) != refused {
				t.Fatalf("error is %v, systemctl refused: %t", err, refused)
			}
			if diff := cmp.Diff(want, got); !refused && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// systemctlEnable returns the links in a tree that holds just that one unit.
func systemctlEnable(t *testing.T, systemctl, name, file, content string) (links []Link, refused bool) {
	t.Helper()
	root := t.TempDir()
	at := filepath.Join(root, file)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), systemctl, "--root="+root, "enable", name)
	cmd.Stderr = &stderr
	err := cmd.Run()
	// Having made one link, systemctl 252 exits with 0 when the next fails.
	refused = err != nil || strings.Contains(stderr.String(), "Failed to enable")
	t.Logf("systemctl: %s", stderr.String())
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		target, err := os.Readlink(path)
		links = append(links, Link{Path: strings.TrimPrefix(path, root), Target: target})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(links, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
	return links, refused
}

func version(t *testing.T, systemctl string) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), systemctl, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(out)) // "systemd 252 (252.39-1)"
	if len(fields) < 2 {
		t.Fatalf("no version in %q", out)
	}
	v, err := strconv.Atoi(strings.SplitN(fields[1], "~", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	return v
}
