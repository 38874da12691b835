package image

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// identity is a UUID that follows from what is in an image and from what it is
// for: a new one would make every image another.
func identity(purpose, digest string) string {
	sum := sha256.Sum256([]byte("nspawn-build\x00" + purpose + "\x00" + digest))
	sum[6] = sum[6]&0x0f | 0x80 // version 8 of RFC 9562: of our own making
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func baseName(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
