package spec

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ImageFormats are the forms that an image can have, as core/image writes them.
var ImageFormats = []string{"directory", "tar", "tar.zst", "tar.xz", "tar.gz", "oci", "squashfs", "erofs", "raw"}

// ImageInput is what a user wrote of an image beyond what is in it. It is no
// part of a Spec: a machine of the same spec has no use for it.
type ImageInput struct {
	Formats         []string
	Verify          bool
	Checks          []string
	SourceDateEpoch string
	Lock            string // the path of a lock file
	Sign            string // a key of GnuPG
}

// Image is how an image is made of a tree.
type Image struct {
	Formats []string `json:"formats"`
	Verify  bool     `json:"verify,omitempty"`
	Checks  []string `json:"checks,omitempty"`
	// SourceDateEpoch stands for every time that making the image leaves in
	// it, in seconds since 1970; 0 means the clock's.
	SourceDateEpoch int64  `json:"sourceDateEpoch,omitempty"`
	Lock            string `json:"lock,omitempty"`
	// Sign is the key, as gpg has it, that signs what the image is verified by.
	Sign string `json:"sign,omitempty"`
}

// BuildImage checks in, beside Build. Its error is an Invalid.
func BuildImage(in ImageInput) (Image, error) {
	var found Invalid
	img := Image{Verify: in.Verify || len(in.Checks) > 0, Checks: in.Checks, Lock: in.Lock, Sign: in.Sign}
	for _, f := range in.Formats {
		switch {
		case !slices.Contains(ImageFormats, f):
			found = append(found, &FieldError{"image.format", f, "is not a format", "use " + strings.Join(ImageFormats[:len(ImageFormats)-1], ", ") + " or raw"})
		case slices.Contains(img.Formats, f):
			found = append(found, &FieldError{"image.format", f, "is given twice", "give each format once"})
		default:
			img.Formats = append(img.Formats, f)
		}
	}
	for _, c := range in.Checks {
		if strings.TrimSpace(c) == "" || strings.ContainsRune(c, 0) {
			found = append(found, &FieldError{"image.check", c, "is no command", "give a command that succeeds in an image that is as it should be"})
		}
	}
	if s := in.SourceDateEpoch; s != "" {
		seconds, err := strconv.ParseInt(s, 10, 64)
		const least = 315532800 // 1980, before which zip and FAT have no times
		if err != nil || seconds < least || seconds > time.Now().Add(24*time.Hour).Unix() {
			found = append(found, &FieldError{
				"image.source-date-epoch", s, "is not a time that has been",
				"use seconds since 1970, such as those of the last commit: git log -1 --format=%ct",
			})
		}
		img.SourceDateEpoch = seconds
	}
	if in.Lock != "" && (!filepath.IsAbs(in.Lock) || hasControl(in.Lock)) {
		found = append(found, &FieldError{"image.lock", in.Lock, "is not the path of a file", "name the lock file that an image was built with before"})
	}
	if strings.HasPrefix(in.Sign, "-") || hasControl(in.Sign) {
		found = append(found, &FieldError{"image.sign", in.Sign, "is no key", "name one as gpg does, by its fingerprint or address: gpg --list-secret-keys"})
	}
	if len(found) > 0 {
		return Image{}, found
	}
	return img, nil
}
