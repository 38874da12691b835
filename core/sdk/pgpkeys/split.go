package pgpkeys

import (
	"crypto/sha1" //nolint:gosec // it is what fingerprints of version 4 are made with
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// Key is one transferable public key (RFC 9580, 10.1).
type Key struct {
	Fingerprint string    // upper case hexadecimal
	Expires     time.Time // zero when it does not
	Revoked     bool
	Packets     []byte // the key with all that belongs to it, in the binary form
}

// Valid reports whether the key may still sign at that time.
func (k Key) Valid(now time.Time) bool {
	return !k.Revoked && (k.Expires.IsZero() || now.Before(k.Expires))
}

// The tags of packets that matter here (RFC 9580, 5).
const (
	tagSignature = 2
	tagPublicKey = 6
	tagSubkey    = 14
)

var errDamaged = errors.New("is damaged")

// Split takes a keyring in the binary form apart into its keys. It verifies
// nothing, so it must never be used to find out whom to trust: only to tell keys
// that are trusted already apart, and whether they are still valid. An error is
// the rest of a sentence that begins with the keyring.
func Split(keyring []byte) ([]Key, error) {
	var keys []Key
	var now *reading
	finish := func() {
		if now != nil {
			keys = append(keys, now.key())
		}
	}
	for rest := keyring; len(rest) > 0; {
		p, after, err := next(rest)
		if err != nil {
			return nil, err
		}
		whole := rest[:len(rest)-len(after)]
		rest = after
		if p.tag == tagPublicKey {
			finish()
			if now, err = begin(p.body); err != nil {
				return nil, err
			}
		}
		if now == nil {
			return nil, errors.New("does not begin with a public key")
		}
		now.packets = append(now.packets, whole...)
		now.take(p)
	}
	finish()
	if len(keys) == 0 {
		return nil, errors.New("has no key in it")
	}
	return keys, nil
}

// reading is a key of which more packets may follow.
type reading struct {
	fingerprint string
	created     time.Time
	packets     []byte
	subkeys     bool      // the packets are those of a subkey by now
	signed      time.Time // when the signature was made that lifetime is from
	lifetime    time.Duration
	revoked     bool
}

// begin reads the body of a public key packet (RFC 9580, 5.5.2 and 5.5.4).
func begin(body []byte) (*reading, error) {
	if len(body) < 6 {
		return nil, errDamaged
	}
	r := &reading{created: time.Unix(int64(binary.BigEndian.Uint32(body[1:5])), 0)}
	switch body[0] {
	case 4:
		if len(body) > 0xffff {
			return nil, errDamaged
		}
		hash := sha1.New() //nolint:gosec // see above
		hash.Write([]byte{0x99, byte(len(body) >> 8), byte(len(body))})
		hash.Write(body)
		r.fingerprint = strings.ToUpper(hex.EncodeToString(hash.Sum(nil)))
	case 6:
		hash := sha256.New()
		hash.Write(binary.BigEndian.AppendUint32([]byte{0x9b}, uint32(len(body)))) //nolint:gosec // at most 16 MiB
		hash.Write(body)
		r.fingerprint = strings.ToUpper(hex.EncodeToString(hash.Sum(nil)))
	default:
		return nil, errors.New("holds a key of a version that is not known")
	}
	return r, nil
}

func (r *reading) key() Key {
	k := Key{Fingerprint: r.fingerprint, Revoked: r.revoked, Packets: r.packets}
	if r.lifetime > 0 {
		k.Expires = r.created.Add(r.lifetime)
	}
	return k
}

// take notes what a packet says of the key: the lifetime in the newest of its
// signatures counts.
func (r *reading) take(p packet) {
	if p.tag == tagSubkey {
		r.subkeys = true
	}
	if p.tag != tagSignature || r.subkeys {
		return
	}
	s, ok := parseSignature(p.body)
	if !ok || s.issuer != "" && !strings.HasSuffix(r.fingerprint, s.issuer) {
		return // somebody else's
	}
	switch {
	case s.kind == 0x20:
		r.revoked = true
	case (s.kind >= 0x10 && s.kind <= 0x13 || s.kind == 0x1f) && !s.made.Before(r.signed):
		r.signed, r.lifetime = s.made, s.lifetime
	}
}

// Armor returns a key in the text form (RFC 9580, 6.2), which every version of
// rpm reads.
func Armor(k Key) []byte {
	var b strings.Builder
	b.WriteString(armorBegin + "\n\n")
	text := base64.StdEncoding.EncodeToString(k.Packets)
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	sum := crc24(k.Packets)
	b.WriteString(text + "\n=" + base64.StdEncoding.EncodeToString([]byte{byte(sum >> 16), byte(sum >> 8), byte(sum)}) + "\n")
	b.WriteString(armorEnd + "\n")
	return []byte(b.String())
}

// crc24 is the checksum of the text form (RFC 9580, 6.1.1), which old programs
// insist on.
func crc24(data []byte) uint32 {
	crc := uint32(0xb704ce)
	for _, c := range data {
		crc ^= uint32(c) << 16
		for range 8 {
			crc <<= 1
			if crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return crc & 0xffffff
}
