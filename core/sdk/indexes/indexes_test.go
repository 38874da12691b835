package indexes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// mirror serves a directory, and counts what was read of it.
func mirror(t *testing.T) (dir, address string, bodies *atomic.Int32) {
	t.Helper()
	dir, bodies = t.TempDir(), new(atomic.Int32)
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			bodies.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return dir, server.URL, bodies
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func of(addresses ...string) func(context.Context, *Client) (string, error) {
	return func(ctx context.Context, c *Client) (string, error) { return c.Of(ctx, addresses...) }
}

func TestAnIndexIsKnownByItsDigestWhereverItIs(t *testing.T) {
	dir, address, _ := mirror(t)
	write(t, filepath.Join(dir, "Release"), "one")
	c := NewClient(nil)
	defer c.Close()
	state, err := All(t.Context(), c, []Index{
		{"far", of(address+"/InRelease", address+"/Release")}, {"near", of("file://" + dir + "/Release")},
	})
	if err != nil || state["far"] != digestOf("one") || state["near"] != digestOf("one") || len(state) != 2 {
		t.Errorf("got %v, %v", state, err)
	}
	write(t, filepath.Join(dir, "InRelease"), "two")
	state, err = All(t.Context(), c, []Index{{"far", of(address+"/InRelease", address+"/Release")}})
	if err != nil || state["far"] != digestOf("two") {
		t.Errorf("got %v, %v", state, err)
	}
}

func TestALargeIndexIsKnownByItsLengthAndTime(t *testing.T) {
	dir, address, bodies := mirror(t)
	path := filepath.Join(dir, "extra.db")
	write(t, path, "large")
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	c := NewClient(nil)
	defer c.Close()
	if got, err := c.Stamp(t.Context(), address+"/extra.db"); err != nil || got != "5 bytes of 2026-11-01T12:00:00Z" || bodies.Load() != 0 {
		t.Errorf("got %q, %v, and %d bodies were read", got, err, bodies.Load())
	}
	if got, err := c.Stamp(t.Context(), "file://"+path); err != nil || got != digestOf("large") {
		t.Errorf("on this host: %q, %v", got, err)
	}
	mute := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("large")) }))
	defer mute.Close()
	if got, err := c.Stamp(t.Context(), mute.URL+"/extra.db"); err != nil || got != digestOf("large") {
		t.Errorf("of a server that tells no time: %q, %v", got, err)
	}
}

func TestWhatCannotBeToldIsAnError(t *testing.T) {
	dir, address, _ := mirror(t)
	write(t, filepath.Join(dir, "there"), "x")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := NewClient(nil)
	defer c.Close()
	for what, bad := range map[string]string{
		"not there": address + "/nothing", "nobody answers": nobody + "/x", "no file": "file://" + dir, "missing": "file://" + dir + "/nothing",
	} {
		_, err := All(t.Context(), c, []Index{{"good", of(address + "/there")}, {"bad", of(bad)}})
		var failure *sdk.Failure
		if !errors.As(err, &failure) || failure.Code != sdk.CodeMirror || !strings.Contains(failure.Message, "bad") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAProxyThatIsNamedIsAsked(t *testing.T) {
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		_, _ = w.Write([]byte("through"))
	}))
	defer proxy.Close()
	c := NewClient(func(scheme, host string) string {
		if scheme == "http" && host == "mirror.example.org" {
			return proxy.URL
		}
		return ""
	})
	defer c.Close()
	if got, err := c.Of(t.Context(), "http://mirror.example.org/InRelease"); err != nil || got != digestOf("through") || asked.Load() != "http://mirror.example.org/InRelease" {
		t.Errorf("got %q, %v; asked for %v", got, err, asked.Load())
	}
}
