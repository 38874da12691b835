package plugins

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// signer is a maker with a key, who signs with the real ssh-keygen.
type signer struct{ private string }

func newSigner(t *testing.T, more ...string) signer {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	private := filepath.Join(t.TempDir(), "key")
	args := append([]string{"-q", "-N", "", "-f", private}, more...)
	if len(more) == 0 {
		args = append(args, "-t", "ed25519")
	}
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return signer{private}
}

func (s signer) key(t *testing.T) *Key {
	t.Helper()
	k, err := ReadKey(s.private + ".pub")
	must(t, err)
	return k
}

// sign writes FILE.sig beside a file.
func (s signer) sign(t *testing.T, path string, more ...string) {
	t.Helper()
	must(t, os.RemoveAll(path+SignatureSuffix))
	args := append([]string{"-q", "-Y", "sign", "-f", s.private}, more...)
	if len(more) == 0 {
		args = append(args, "-n", Namespace)
	}
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestASignatureIsOfItsKeyForItsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte("content"), 0o600))
	maker, other := newSigner(t), newSigner(t)
	for what, c := range map[string]struct {
		by      signer
		sign    []string
		content string
		spoil   func(string) string
		words   string // "" means that it is accepted
	}{
		"as it must be":      {by: maker},
		"hashed otherwise":   {by: maker, sign: []string{"-n", Namespace, "-O", "hashalg=sha256"}},
		"another content":    {by: maker, content: "Content", words: "does not fit"},
		"another key":        {by: other, words: "it is signed by SHA256:"},
		"another purpose":    {by: maker, sign: []string{"-n", "file"}, words: `made for "file"`},
		"cut off":            {by: maker, spoil: func(s string) string { return s[:len(s)/2] }, words: "not a signature"},
		"a word":             {by: maker, spoil: func(string) string { return "signed" }, words: "not a signature"},
		"something appended": {by: maker, spoil: func(s string) string { return s + "more" }, words: "not a signature"},
		"of another kind":    {by: maker, spoil: func(s string) string { return strings.ReplaceAll(s, "SSH SIGNATURE", "PGP SIGNATURE") }, words: "not a signature"},
		"too short": {by: maker, words: "cannot be read", spoil: func(string) string {
			return string(pem.EncodeToMemory(&pem.Block{Type: sigType, Bytes: []byte(sigMagic + "\x00\x00\x00\x01")}))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			c.by.sign(t, path, c.sign...)
			armored, err := os.ReadFile(path + SignatureSuffix)
			must(t, err)
			if c.spoil != nil {
				armored = []byte(c.spoil(string(armored)))
			}
			content := "content"
			if c.content != "" {
				content = c.content
			}
			err = maker.key(t).check([]byte(content), armored)
			if c.words == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want %q", err, c.words)
			}
		})
	}
	for _, kind := range [][]string{{"-t", "rsa", "-b", "2048"}, {"-t", "ecdsa", "-b", "256"}} {
		s := newSigner(t, kind...)
		s.sign(t, path)
		armored, err := os.ReadFile(path + SignatureSuffix)
		must(t, err)
		if err := s.key(t).check([]byte("content"), armored); err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestSHA1SignsNothing(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	s, err := ssh.NewSignerFromKey(private)
	must(t, err)
	digest := strings.Repeat("x", 32)
	body := append([]byte(sigMagic), ssh.Marshal(struct{ Namespace, Reserved, Hash, Digest string }{Namespace, "", "sha256", digest})...)
	made, err := s.Sign(rand.Reader, body) // ssh-rsa
	must(t, err)
	raw := append([]byte(sigMagic), ssh.Marshal(struct {
		Version                                  uint32
		Public                                   []byte
		Namespace, Reserved, Hash, SignatureBlob string
	}{1, s.PublicKey().Marshal(), Namespace, "", "sha256", string(ssh.Marshal(made))})...)
	err = (&Key{s.PublicKey()}).check(nil, pem.EncodeToMemory(&pem.Block{Type: sigType, Bytes: raw}))
	if made.Format != ssh.KeyAlgoRSA || err == nil || !strings.Contains(err.Error(), `made with "ssh-rsa", which is not accepted`) {
		t.Errorf("%s: %v", made.Format, err)
	}
}

func TestAKeyIsOnePublicKey(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	k, err := ssh.NewPublicKey(public)
	must(t, err)
	line := string(ssh.MarshalAuthorizedKey(k))
	if parsed, err := ParseKey([]byte(line)); err != nil || parsed.String() != strings.TrimSpace(line) || FingerprintOf(line) != parsed.Fingerprint() {
		t.Errorf("%v, %v", parsed, err)
	}
	for _, text := range []string{"", "key", line + line, `command="x" ` + line, "-----BEGIN OPENSSH PRIVATE KEY-----\n"} {
		if _, err := ParseKey([]byte(text)); err == nil {
			t.Errorf("%q is taken for a key", text)
		}
	}
	_, err = ReadKey("/nonexistent")
	expect(t, err, Unfit, "cannot be read")
	_, err = ReadKey("/dev/null")
	expect(t, err, Unfit, "not the file of a public key")
}

func TestWhatWasSignedOnceMustBeSignedAgain(t *testing.T) {
	s := newStore(t)
	maker, other := newSigner(t), newSigner(t)
	one, two := program(t, says{Distros: []string{"an-os"}}), program(t, says{Version: "2.0.0", Distros: []string{"an-os"}})
	path := file(t, "signed", one)
	maker.sign(t, path)
	if done := s.install(t, Wanted{Source: path}); !done.Unchecked || done.Signer != "" {
		t.Errorf("without a key: %+v", done)
	}
	done := s.install(t, Wanted{Source: path, Key: maker.key(t)})
	if done.Signer != maker.key(t).Fingerprint() || !done.Changed {
		t.Errorf("%+v", done)
	}
	before := snapshot(t, s.Dir)
	refused := func(words string, w Wanted) {
		t.Helper()
		_, err := s.Install(t.Context(), w)
		expect(t, err, Unfit, words)
		_, err = s.Ask(t.Context(), "signed")
		expect(t, err, Unfit, words)
		if snapshot(t, s.Dir) != before {
			t.Error("something was touched")
		}
	}
	must(t, os.WriteFile(path, two, 0o644))
	refused("does not fit", Wanted{Source: path, Replace: true})
	must(t, os.Remove(path+SignatureSuffix))
	refused("is not signed, and it must be", Wanted{Source: path, Replace: true})
	other.sign(t, path)
	refused("it is signed by "+other.key(t).Fingerprint(), Wanted{Source: path, Replace: true})
	maker.sign(t, path)
	u, err := s.Ask(t.Context(), "signed")
	must(t, err)
	done, err = s.Apply(t.Context(), u)
	must(t, err)
	if done.Version != "2.0.0" || done.Signer != maker.key(t).Fingerprint() {
		t.Errorf("%+v", done)
	}
	// From a registry, too, and before it is run: it would end with status 7.
	repository := registryOf(t, nil)
	s.pushTo(t, repository+":1", "signed", []byte("#!/bin/sh\nexit 7\n"), nil)
	_, err = s.Install(t.Context(), Wanted{Source: repository + ":1", Replace: true})
	expect(t, err, Unfit, "is not signed, and it must be by")

	// Another maker comes in by name only.
	other.sign(t, path)
	must(t, os.WriteFile(path, one, 0o644))
	other.sign(t, path)
	done = s.install(t, Wanted{Source: path, Replace: true, Key: other.key(t)})
	if done.Signer != other.key(t).Fingerprint() {
		t.Errorf("%+v", done)
	}
}

func FuzzASignatureIsReadWithoutHarm(f *testing.F) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(f, err)
	k, err := ssh.NewPublicKey(public)
	must(f, err)
	whole := append([]byte(sigMagic), ssh.Marshal(struct {
		Version                                  uint32
		Public                                   []byte
		Namespace, Reserved, Hash, SignatureBlob string
	}{1, k.Marshal(), Namespace, "", "sha512", string(ssh.Marshal(ssh.Signature{Format: k.Type(), Blob: make([]byte, 64)}))})...)
	for _, n := range []int{0, 6, 10, 60, len(whole) - 1, len(whole)} {
		f.Add(whole[:n])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		// Nobody has the private half, so nothing is a signature of it.
		if err := (&Key{k}).check([]byte("content"), pem.EncodeToMemory(&pem.Block{Type: sigType, Bytes: body})); err == nil {
			t.Errorf("%x is taken for a signature", body)
		}
	})
}
