package pluginhost

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// certificate is one as the handshake has it.
var certificate = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(der)
}()

func TestOnlyAWholeHandshakeIsAccepted(t *testing.T) {
	h := handshake{plugin: "x", dir: "/run/nb/d"}
	for line, want := range map[string]string{
		"1|1|unix|/run/nb/d/s|grpc|" + certificate + "\n":       "/run/nb/d/s",
		"1|1|unix|/run/nb/d/s|grpc|" + certificate + "|true\n":  "/run/nb/d/s",
		"1|1|unix|/run/nb/d/s|grpc|" + certificate + "\r\n":     "/run/nb/d/s",
		"1|1|unix|/run/nb/d/s|grpc|" + certificate:              "", // cut off
		"1|1|unix|/run/nb/d/s|grpc\n":                           "",
		"1|1|unix|/run/nb/d/s|grpc|" + certificate + "==\n":     "",
		"1|1|unix|/run/nb/d/s|grpc|" + certificate[:96] + "\n":  "",
		"1|1|unix|/run/nb/d/s|netrpc|" + certificate + "\n":     "",
		"1|1|unix|/run/nb/d|grpc|" + certificate + "\n":         "",
		"1|1|unix|/run/nb/d/|grpc|" + certificate + "\n":        "",
		"1|1|unix|/run/nb/d/../s|grpc|" + certificate + "\n":    "",
		"1|1|unix|/run/nb/d/sub/s|grpc|" + certificate + "\n":   "",
		"1|1|unix|@abstract|grpc|" + certificate + "\n":         "",
		"1|1|unixpacket|/run/nb/d/s|grpc|" + certificate + "\n": "",
		"2|1|unix|/run/nb/d/s|grpc|" + certificate + "\n":       "",
		"1|2|unix|/run/nb/d/s|grpc|" + certificate + "\n":       "",
		"1|-1|unix|/run/nb/d/s|grpc|" + certificate + "\n":      "",
		"1|1|unix\n": "",
		"\n":         "",
		"usage: x\n": "",
	} {
		got, err := h.check(line)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", line, got, err)
		}
		var version *VersionError
		if err != nil && !errors.Is(err, ErrProtocol) && !errors.As(err, &version) {
			t.Errorf("%q: %T", line, err)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add("1|1|unix|/d/s|grpc|" + certificate + "\n")
	f.Add("1|2|unix|/d/\x1b[2J|grpc|\n")
	f.Fuzz(func(t *testing.T, line string) {
		address, err := handshake{plugin: "x", dir: "/d"}.check(line)
		if err == nil && filepath.Dir(address) != "/d" {
			t.Errorf("%q was accepted", address)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\n\x00") {
			t.Errorf("a message that is not clean: %q", err)
		}
	})
}

func TestDialReachesOnlyASocket(t *testing.T) {
	dir := shortDir(t)
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(listener) //nolint:errcheck // a test's own
	must(t, unix.Bind(listener, &unix.SockaddrUnix{Name: dir + "/s"}))
	must(t, unix.Listen(listener, 1))
	must(t, os.Symlink(dir+"/s", dir+"/link"))
	must(t, os.WriteFile(dir+"/file", nil, 0o600))
	conn, err := dial(t.Context(), dir+"/s")
	must(t, err)
	must(t, conn.Close())
	for _, name := range []string{"/link", "/file"} {
		if _, err := dial(t.Context(), dir+name); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := dial(t.Context(), dir+"/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

func TestReportsAreReadUpToWhatIsNone(t *testing.T) {
	got := parseReports([]byte("{\"warning\":\"w\"}\n{\"ended\":\"exit status 1\"}\nfatal error: x\n{\"error\":\"e\"}\n"))
	want := []report{{Warning: "w"}, {Ended: "exit status 1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := parseReports(nil); got != nil {
		t.Errorf("nothing became %v", got)
	}
}

func TestARemountKeepsTheFlags(t *testing.T) {
	want := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_RELATIME)
	if got := flagsOf("rw,nosuid,nodev,relatime"); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

func TestInitIsNotForUseByHand(t *testing.T) {
	for _, args := range [][]string{{"nspawn-build"}, {"nspawn-build", "create", initArgument}, {"nspawn-build", initArgument, "x"}, nil} {
		if _, did := Init(args); did {
			t.Errorf("%q was taken for it", args)
		}
	}
	if status, did := Init([]string{"nspawn-build", initArgument}); !did || status != 2 {
		t.Errorf("by hand it returned %d, %t", status, did)
	}
}

func TestABuildTreesPluginsMayBelongToWhomTheProgramBelongs(t *testing.T) {
	// This test's program is root's, which adds nobody.
	for _, dir := range []string{"/usr/lib/nspawn-build/plugins", besideExecutable()} {
		for _, uid := range ownersOf(dir) {
			if uid != 0 && int(uid) != os.Geteuid() {
				t.Errorf("%s may belong to user %d", dir, uid)
			}
		}
	}
	mine := owners{0, 1000}
	if reason := mine.check(&unix.Stat_t{Uid: 1000, Mode: unix.S_IFDIR | 0o755}); reason != "" {
		t.Errorf("the owner's: %s", reason)
	}
	if reason := mine.check(&unix.Stat_t{Uid: 1001, Mode: unix.S_IFDIR | 0o755}); reason == "" {
		t.Error("a third user's was trusted")
	}
	if !strings.HasSuffix(DefaultDirectories()[0], "/plugins") || len(DefaultDirectories()) != 3 {
		t.Errorf("the directories are %q", DefaultDirectories())
	}
}

func TestWithoutRootItIsSaidThatRootIsNeeded(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("only without root")
	}
	_, err := (&Host{}).Start(t.Context(), Listing{Name: "x", Path: "/x"}, Grants{})
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeHostNotReady || failure.Hint == "" {
		t.Errorf("got %v", err)
	}
}
