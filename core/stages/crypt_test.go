package stages

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// perlCrypt asks the C library's own crypt(3), by way of perl.
func perlCrypt(t *testing.T, password, setting string) string {
	t.Helper()
	perl, err := exec.LookPath("perl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("perl is not installed")
		}
		t.Skip("needs perl to ask the C library")
	}
	out, err := exec.Command(perl, "-e", `print crypt($ARGV[0], $ARGV[1])`, password, setting).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestHashesAreThoseOfTheCLibrary(t *testing.T) {
	for _, modern := range []bool{true, false} {
		for _, password := range []string{"Zażółć gęślą jaźń", strings.Repeat("x", 200)} {
			hash, err := hashPassword(spec.NewSecret(password), modern)
			if err != nil {
				t.Fatal(err)
			}
			want := "$6$"
			if modern {
				want = "$y$j9T$"
			}
			if !strings.HasPrefix(hash, want) {
				t.Errorf("hash %q does not begin with %s", hash, want)
			}
			if again := perlCrypt(t, password, hash); again != hash {
				t.Errorf("crypt(3) says %q for %q, we say %q", again, password, hash)
			}
			if !matches(hash, spec.NewSecret(password)) || matches(hash, spec.NewSecret(password+"x")) {
				t.Errorf("matches does not tell the right password from a wrong one for %q", hash)
			}
			if e := spec.ParseHash(hash); e != nil {
				t.Errorf("our own hash is refused as input: %v", e)
			}
		}
	}
}

func TestTwoHashesOfOnePasswordDiffer(t *testing.T) {
	a, errA := hashPassword(spec.NewSecret("x"), true)
	b, errB := hashPassword(spec.NewSecret("x"), true)
	if errA != nil || errB != nil || a == b {
		t.Errorf("%q and %q (%v, %v)", a, b, errA, errB)
	}
}

func TestWhatIsNoHashMatchesNothing(t *testing.T) {
	for _, h := range []string{"", "*", "!", "!$y$j9T$x$y", "$y$j9T$", "$y$j9T$a", "$y$zzz$a$b", "plain", "$6$"} {
		if matches(h, spec.NewSecret("")) || matches(h, spec.NewSecret(h)) {
			t.Errorf("%q matched", h)
		}
	}
}

func TestLibcryptSaysWhatItKnows(t *testing.T) {
	for content, want := range map[string]bool{"\x7fELF…$6$…$y$…": true, "\x7fELF…$6$…": false, "": false} {
		dir := t.TempDir()
		tree := treeAt(t, dir)
		if content != "" {
			put(t, tree, "usr/lib/x86_64-linux-gnu/libcrypt.so.1", content)
		}
		if got, err := knowsYescrypt(tree); err != nil || got != want {
			t.Errorf("knowsYescrypt with %q = %v, %v, want %v", content, got, err, want)
		}
	}
}

func treeAt(t *testing.T, dir string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func put(t *testing.T, tree *rootfs.Tree, name, content string) {
	t.Helper()
	if err := tree.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
