package main

import (
	"fmt"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// keyPackages says which package brings the keys of all distributions where.
var keyPackages = map[string]string{
	sdk.FamilyDebian: "distribution-gpg-keys", sdk.FamilyArch: "distribution-gpg-keys", sdk.FamilyFedora: "distribution-gpg-keys",
}

// resolveKeys decides which keys are trusted: all in the user's file, or those of
// the distribution that the plugin knows by their fingerprints, wherever the host
// has them. No other key in a file of the host's counts.
func (h host) resolveKeys(j *job, asked string, found *sdk.Findings) {
	if asked != "" {
		keys, err := h.readKeys(asked)
		if err != nil {
			found.Refuse("keyring", sdk.Quoted(asked)+" "+err.Error(),
				"give the absolute path of a file that `gpg --export` wrote, or of the distribution's RPM-GPG-KEY")
		}
		j.keyring, j.keys = asked, keys
		h.warnInvalid(j, found)
		return
	}
	pins := j.distro.pins[major(j.release)]
	if len(pins) == 0 {
		found.Refuse("keyring", "this plugin does not know the keys of "+j.distro.name+" "+j.release,
			"name a file with them with --keyring")
		return
	}
	for _, p := range pins {
		key, ok := h.pinned(p)
		if !ok {
			found.Missing("keyring", fmt.Sprintf("the key %s, which signs %s %s, is not on this host", p.fingerprint, j.distro.name, j.release),
				h.keyHint())
			continue
		}
		j.keys = append(j.keys, key)
	}
	h.warnInvalid(j, found)
}

// keyHint says how this host gets the keys.
func (h host) keyHint() string {
	hint := h.InstallHint(keyPackages)
	if fields := h.OSRelease(); fields["ID"] == "debian" && fields["VERSION_ID"] == "12" {
		return hint + " (Debian 12 has it in bookworm-backports), or name a file with the key with --keyring"
	}
	return hint + ", or name a file with the key with --keyring"
}

// pinned looks a key up in the files that may hold it.
func (h host) pinned(p pin) (pgpkeys.Key, bool) {
	for _, file := range p.files {
		keys, err := h.readKeys(file)
		if err != nil {
			continue // the next file, or none, is as good
		}
		for _, key := range keys {
			if key.Fingerprint == p.fingerprint {
				return key, true
			}
		}
	}
	return pgpkeys.Key{}, false
}

// readKeys reads a file of keys. An error is the rest of a sentence that begins
// with the file.
func (h host) readKeys(file string) ([]pgpkeys.Key, error) {
	packets, err := pgpkeys.Read(h.Root, file)
	if err != nil {
		return nil, err
	}
	return pgpkeys.Split(packets)
}

// warnInvalid says which keys are of no use any more.
func (h host) warnInvalid(j *job, found *sdk.Findings) {
	for _, key := range j.keys {
		if !key.Valid(h.now()) {
			found.Warn("keyring", "the key "+key.Fingerprint+" "+why(key), "nothing that only it has signed is installed")
		}
	}
}

func why(key pgpkeys.Key) string {
	if key.Revoked {
		return "was revoked"
	}
	return "has expired on " + key.Expires.UTC().Format("2006-01-02")
}

// validKeys are the keys that may still sign. Not every rpm looks at that itself.
func (j *job) validKeys(h host) ([]pgpkeys.Key, error) {
	var valid []pgpkeys.Key
	var invalid []string
	for _, key := range j.keys {
		if key.Valid(h.now()) {
			valid = append(valid, key)
		} else {
			invalid = append(invalid, "the key "+key.Fingerprint+" "+why(key))
		}
	}
	if len(valid) > 0 {
		return valid, nil
	}
	return nil, &sdk.Failure{
		Code:    sdk.CodeVerification,
		Message: "no key is left to verify packages with: " + strings.Join(invalid, ", "),
		Hint:    "update the package that brings the keys, name newer ones with --keyring, or check the clock of this host",
	}
}
