package hostfile

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var aliasAddress = netip.MustParseAddr("192.168.200.200")

func hostsWith(t *testing.T, content string) Hosts {
	t.Helper()
	h := Hosts{filepath.Join(t.TempDir(), "hosts")}
	if err := os.WriteFile(h.Path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestWhatElseIsInHostsStaysToTheByte(t *testing.T) {
	names := []string{"box", "web", "a-b"}
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom([]string{"127.0.0.1 localhost", "", "# box", "\t::1  x", "10.0.0.1 web # made by nspawn-build", "garbage \x00\xff", "1.2.3.4 box.example\r"})
		before := []byte(strings.Join(rapid.SliceOf(line).Draw(t, "lines"), "\n") + rapid.SampledFrom([]string{"", "\n"}).Draw(t, "end"))
		content := slices.Clone(before)
		for _, n := range names {
			content = with(content, n, aliasAddress)
			if again := with(content, n, aliasAddress); !bytes.Equal(again, content) {
				t.Errorf("added twice: %q", again)
			}
		}
		for _, n := range rapid.Permutation(names).Draw(t, "order") {
			content = without(content, n)
		}
		if !bytes.Equal(content, before) {
			t.Errorf("%q became %q", before, content)
		}
	})
}

func TestHostsKeepsOwnerModeAndAttributes(t *testing.T) {
	h := hostsWith(t, "127.0.0.1 localhost")
	if err := os.Chmod(h.Path, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(h.Path, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	attribute := unix.Setxattr(h.Path, "user.kept", []byte("yes"), 0)
	if err := h.Add("box", aliasAddress); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(h.Path); string(got) != "127.0.0.1 localhost\n192.168.200.200 box # made by nspawn-build for machine box" {
		t.Errorf("the file holds %q", got)
	}
	if has, err := h.Has("box", aliasAddress); err != nil || !has {
		t.Errorf("%v, %v", has, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(h.Path, &st); err != nil || st.Mode&0o7777 != 0o640 {
		t.Errorf("mode %o, %v", st.Mode, err)
	}
	if os.Geteuid() == 0 && (st.Uid != 12 || st.Gid != 34) {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(h.Path, "user.kept", value); attribute == nil && (err != nil || string(value[:n]) != "yes") {
		t.Errorf("attribute %q, %v", value, err)
	}
	if err := h.Remove("box"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(h.Path)); err != nil || len(entries) != 1 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
}

func TestNamesThatMeanSomethingAreNotTaken(t *testing.T) {
	h := hostsWith(t, "127.0.0.1 localhost\n10.0.0.9 Printer # box\n192.168.201.200 old # made by nspawn-build for machine old\n")
	for name, says := range map[string]string{
		"localhost": "every host", "LocalHost": "every host", "thisone": "this host", "printer": "10.0.0.9", "box.example": "dot",
	} {
		var refused *EntryError
		if err := h.Check(name, "thisone.example"); !errors.As(err, &refused) || !strings.Contains(err.Error(), says) || refused.Hint == "" {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
	}
	for _, name := range []string{"box", "old", "thisone-2"} {
		if err := h.Check(name, "thisone.example"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostsThatCannotBeReplacedIsLeftAloneAndSaidSo(t *testing.T) {
	missing := Hosts{filepath.Join(t.TempDir(), "hosts")}
	link := Hosts{filepath.Join(t.TempDir(), "hosts")}
	target := hostsWith(t, "127.0.0.1 localhost\n")
	if err := os.Symlink(target.Path, link.Path); err != nil {
		t.Fatal(err)
	}
	second := hostsWith(t, "")
	if err := os.Link(second.Path, second.Path+"2"); err != nil {
		t.Fatal(err)
	}
	for says, h := range map[string]Hosts{"missing": missing, "is a link": link, "second name": second} {
		for _, err := range []error{h.Add("box", aliasAddress), h.Check("box", "self")} {
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--alias") {
				t.Errorf("%v, want %q", err, says)
			}
		}
		if err := h.Remove("box"); err != nil { // nothing of ours is there
			t.Errorf("%s: %v", says, err)
		}
	}
	if got, _ := os.ReadFile(target.Path); string(got) != "127.0.0.1 localhost\n" {
		t.Errorf("a link was followed: %q", got)
	}
}
