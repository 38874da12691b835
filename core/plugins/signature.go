package plugins

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Namespace is what signatures of plugins are made for, so that one of
// something else is none of a plugin: ssh-keygen -Y sign -n nspawn-build-plugin.
const Namespace = "nspawn-build-plugin"

// Key is a public key of SSH by which plugins are signed.
type Key struct{ public ssh.PublicKey }

// ReadKey reads a file with one public key, such as id_ed25519.pub.
func ReadKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > 64<<10) {
		err = errors.New("it is not the file of a public key")
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &Error{Kind: Unfit, Problem: fmt.Sprintf("key: %q cannot be read", path), Advice: "name the file of the maker's public key, such as maker.pub", Err: err}
	}
	k, err := ParseKey(content)
	if err != nil {
		return nil, &Error{
			Kind: Unfit, Problem: fmt.Sprintf("key: %q is not the file of a public key", path), Err: err,
			Advice: "it is to hold one line as ssh-keygen writes it into id_ed25519.pub: ssh-ed25519 AAAA… name",
		}
	}
	return k, nil
}

// ParseKey reads one public key, as authorized_keys and .pub files have them.
func ParseKey(line []byte) (*Key, error) {
	public, _, options, rest, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil, err
	}
	if len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("there is more in it than one key")
	}
	if _, is := public.(*ssh.Certificate); is {
		return nil, errors.New("certificates are not supported")
	}
	if len(algorithms(public)) == 0 {
		return nil, fmt.Errorf("keys of type %s are not secure", public.Type())
	}
	return &Key{public}, nil
}

// algorithms are those that a key may sign with.
func algorithms(k ssh.PublicKey) []string {
	switch t := k.Type(); t {
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512} // never SHA-1
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256:
		return []string{t}
	}
	return nil
}

// String is the line of the key.
func (k *Key) String() string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.public))) }

// Fingerprint is what ssh-keygen -l prints of it.
func (k *Key) Fingerprint() string { return ssh.FingerprintSHA256(k.public) }

// FingerprintOf is the fingerprint of a key in a lock; "" for none.
func FingerprintOf(line string) string {
	k, err := ParseKey([]byte(line))
	if err != nil {
		return ""
	}
	return k.Fingerprint()
}

// verify refuses a plugin that is not signed by the key.
func (k *Key) verify(c *candidate) error {
	if c.signature == nil {
		return unfit("its maker signs it with ssh-keygen -Y sign -n "+Namespace+"; only --key with another key, or remove and install, lets another maker in",
			"%s is not signed, and it must be by %s", c.source, k.Fingerprint())
	}
	if err := k.check(c.content, c.signature); err != nil {
		return &Error{
			Kind: Unfit, Problem: fmt.Sprintf("%s is not signed by %s", c.source, k.Fingerprint()), Err: err,
			Advice: "do not use it unless its maker tells why",
		}
	}
	return nil
}

// The form of a signature: PROTOCOL.sshsig of OpenSSH.
const (
	sigType  = "SSH SIGNATURE"
	sigMagic = "SSHSIG"
	maxSig   = 64 << 10
)

// check checks a detached signature as ssh-keygen -Y sign makes it.
func (k *Key) check(content, armored []byte) error {
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != sigType || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("what is beside it is not a signature of ssh-keygen")
	}
	body, ok := bytes.CutPrefix(block.Bytes, []byte(sigMagic))
	if !ok {
		return errors.New("the signature does not begin as one")
	}
	var sig struct {
		Version   uint32
		Public    []byte
		Namespace string
		Reserved  string
		Hash      string
		Signature []byte
	}
	if err := ssh.Unmarshal(body, &sig); err != nil {
		return fmt.Errorf("the signature cannot be read: %w", err)
	}
	switch {
	case sig.Version != 1:
		return fmt.Errorf("the signature is of version %d, and 1 is known", sig.Version)
	case sig.Namespace != Namespace:
		return fmt.Errorf("the signature is made for %q, not for %q", sig.Namespace, Namespace)
	case !bytes.Equal(sig.Public, k.public.Marshal()):
		by := "a key that cannot be read"
		if other, err := ssh.ParsePublicKey(sig.Public); err == nil {
			by = ssh.FingerprintSHA256(other)
		}
		return fmt.Errorf("it is signed by %s", by)
	}
	var digest []byte
	switch sig.Hash {
	case "sha256":
		d := sha256.Sum256(content)
		digest = d[:]
	case "sha512":
		d := sha512.Sum512(content)
		digest = d[:]
	default:
		return fmt.Errorf("the signature is of a hash that is not known: %q", sig.Hash)
	}
	var made ssh.Signature
	if err := ssh.Unmarshal(sig.Signature, &made); err != nil {
		return fmt.Errorf("the signature cannot be read: %w", err)
	}
	if !slices.Contains(algorithms(k.public), made.Format) {
		return fmt.Errorf("the signature is made with %q, which is not accepted", made.Format)
	}
	signed := append([]byte(sigMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{sig.Namespace, sig.Reserved, sig.Hash, digest})...)
	if err := k.public.Verify(signed, &made); err != nil {
		return errors.New("the signature does not fit what it is to sign")
	}
	return nil
}
