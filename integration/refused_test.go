//go:build integration

package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// TestNothingIsMadeOfWhatDoesNotVerify gives the real tools repositories with
// one thing wrong each, and looks at what the user is told and what is left.
func TestNothingIsMadeOfWhatDoesNotVerify(t *testing.T) {
	t.Parallel()
	flaws := []testrepo.Flaw{
		testrepo.WrongKey, testrepo.ExpiredKey, testrepo.TamperedPackage, testrepo.TamperedDatabase,
		testrepo.MissingSignature, testrepo.StaleDatabase,
	}
	both := []distribution{arch, fedora}
	o := options(t, testhost.Options{}, both...)
	for _, d := range both {
		for _, f := range flaws {
			o.Sites[f.String()+"."+d.site] = http.FileServer(http.Dir(d.open(t).Flawed(t, f).Dir))
		}
	}
	h := install(t, testhost.StartDirect(t, o))
	for _, d := range both {
		d.sources(t, h)
		before := h.Snapshot(t)
		refused := func(name string, says []string, args ...string) {
			t.Run(d.name+"/"+name, func(t *testing.T) {
				r := h.Run(t, args...)
				t.Log(r.Stderr)
				if r.Exit != exitBootstrap && r.Exit != exitUsage {
					t.Errorf("want exit %d or %d, got %s", exitBootstrap, exitUsage, r)
				}
				_, said, _ := strings.Cut(r.Stderr, "error: ")
				for _, word := range append(says, "hint: ") {
					if !strings.Contains(said, word) {
						t.Errorf("it does not say %q: %s", word, r)
					}
				}
				nothingLeft(t, h, before)
			})
		}
		for _, f := range flaws {
			keyring := keyOnHost + d.name + "-" + f.String() + ".asc"
			h.CopyIn(t, d.open(t).Flawed(t, f).Keyring, keyring)
			before = h.Snapshot(t)
			args := append(d.command(t, h, "box", "--no-boot"), "--mirror", "http://"+f.String()+"."+d.site+"/"+d.layout)
			for i, a := range args {
				switch {
				case a == "--keyring":
					args[i+1] = keyring
				case a == "--mirror" && i < len(args)-2:
					args[i+1] = args[len(args)-1] // in its place
				}
			}
			refused(f.String(), nil, args[:len(args)-2]...)
		}
		refused("unknown package", []string{"nosuch-package"}, d.command(t, h, "box", "--no-boot", "--package", "nosuch-package")...)
		refused("unreachable mirror", nil, "nspawn-build", "--distro", d.name, "box", "--no-boot",
			"--mirror", "http://127.0.0.1:1/"+d.layout, "--keyring", keyOnHost+d.name+".asc")
		h.MustRun(t, "sh", "-c", "mkdir -m 700 /mnt/small && mount -t tmpfs -o size=40m,mode=700 tmpfs /mnt/small")
		before = h.Snapshot(t)
		refused("full disk", []string{"full"}, d.command(t, h, "box", "--no-boot", "--directory", "/mnt/small")...)
		h.MustRun(t, "sh", "-c", "umount /mnt/small && rmdir /mnt/small")
	}
}
