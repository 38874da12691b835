package pgpkeys

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// packet is one packet (RFC 9580, 4.2).
type packet struct {
	tag  int
	body []byte
}

// next takes the first packet off data.
func next(data []byte) (packet, []byte, error) {
	if data[0]&0x80 == 0 {
		return packet{}, nil, errDamaged
	}
	tag, header, length := int(data[0]&0x3f), 0, -1
	if data[0]&0x40 == 0 { // the old format
		tag = int(data[0]>>2) & 0x0f
		size := 1 << (data[0] & 3) // of the length: 1, 2 or 4 bytes
		if size <= 4 && len(data) > size {
			header, length = 1+size, 0
			for _, c := range data[1:header] {
				length = length<<8 | int(c)
			}
		}
	} else {
		header, length = newLength(data[1:])
		header++
	}
	if length < 0 || length > len(data)-header {
		return packet{}, nil, errDamaged
	}
	return packet{tag: tag, body: data[header : header+length]}, data[header+length:], nil
}

// newLength reads a length of the new format (RFC 9580, 4.2.1), which is that of
// subpackets too. It is -1 when there is none; keys are never of partial length.
func newLength(data []byte) (size, length int) {
	switch {
	case len(data) >= 1 && data[0] < 192:
		return 1, int(data[0])
	case len(data) >= 2 && data[0] < 224:
		return 2, (int(data[0])-192)<<8 + int(data[1]) + 192
	case len(data) >= 5 && data[0] == 255:
		return 5, int(binary.BigEndian.Uint32(data[1:5]))
	}
	return 0, -1
}

// signature is what a signature packet says (RFC 9580, 5.2.3).
type signature struct {
	kind     byte
	made     time.Time
	lifetime time.Duration // of the key; 0 means for ever
	issuer   string        // the end of the issuer's fingerprint; empty when it is not said
}

// parseSignature reads a signature of version 4 or 6. Those of version 3 have no
// lifetime.
func parseSignature(body []byte) (signature, bool) {
	if len(body) < 6 || body[0] != 4 && body[0] != 6 {
		return signature{}, false
	}
	s := signature{kind: body[1]}
	width := 2 // of the length of an area
	if body[0] == 6 {
		width = 4
	}
	rest := body[4:]
	for _, hashed := range []bool{true, false} {
		if len(rest) < width {
			return signature{}, false
		}
		length := 0
		for _, c := range rest[:width] {
			length = length<<8 | int(c)
		}
		rest = rest[width:]
		if length < 0 || length > len(rest) {
			return signature{}, false
		}
		if !s.takeArea(rest[:length], hashed) {
			return signature{}, false
		}
		rest = rest[length:]
	}
	return s, true
}

// takeArea reads subpackets (RFC 9580, 5.2.3.7). Only the issuer counts where
// nothing is signed.
func (s *signature) takeArea(area []byte, hashed bool) bool {
	for len(area) > 0 {
		size, length := newLength(area)
		if length < 1 || length > len(area)-size {
			return false
		}
		kind, body := area[size]&0x7f, area[size+1:size+length]
		area = area[size+length:]
		switch {
		case kind == 2 && hashed && len(body) == 4:
			s.made = time.Unix(int64(binary.BigEndian.Uint32(body)), 0)
		case kind == 9 && hashed && len(body) == 4:
			s.lifetime = time.Duration(binary.BigEndian.Uint32(body)) * time.Second
		case kind == 16 && len(body) == 8:
			s.issuer = strings.ToUpper(hex.EncodeToString(body))
		}
	}
	return true
}
