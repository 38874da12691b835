package inherit

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestChildInheritsWhatItIsGivenAndNothingElse(t *testing.T) {
	secret, err := os.CreateTemp(t.TempDir(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	leaked, err := unix.Dup(int(secret.Fd())) // open to children, unlike what Go opens
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(leaked) }()
	list := func() string {
		given, err := os.Open("/dev/zero")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = given.Close() }()
		cmd := exec.Command("sh", "-c", "for f in /proc/$$/fd/*; do readlink $f; done; true")
		cmd.ExtraFiles = []*os.File{given}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if !strings.Contains(list(), secret.Name()) {
		t.Fatal("nothing leaks in the first place: this test cannot fail")
	}
	if err := Nothing(); err != nil {
		t.Fatal(err)
	}
	out := list()
	if strings.Contains(out, secret.Name()) {
		t.Errorf("leaked:\n%s", out)
	}
	if !strings.Contains(out, "/dev/zero") {
		t.Errorf("what it was given is missing:\n%s", out)
	}
}
