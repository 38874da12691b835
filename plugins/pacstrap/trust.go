package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// ownFingerprints reads the user's keyring and returns those of its keys that
// can be trusted.
func (r *run) ownFingerprints(ctx context.Context) ([]string, error) {
	if !r.keyring.own {
		return nil, nil
	}
	keys, err := pgpkeys.Read(r.host.Root, r.keyring.path)
	if err != nil {
		return nil, fmt.Errorf("keyring: %s %w", r.keyring.path, err)
	}
	if err := os.WriteFile(r.ownKeysPath(), keys, 0o600); err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	lines, err := r.output(ctx, r.listOwnKeys())
	if err != nil {
		return nil, err
	}
	return r.usable(parseKeys(lines))
}

// usable returns the fingerprints of the keys that can be trusted, and says
// which cannot.
func (r *run) usable(keys []key) ([]string, error) {
	var fingerprints, unusable []string
	for _, k := range keys {
		if why := k.unusable(r.host.now()); why != "" {
			unusable = append(unusable, "the key "+k.fingerprint+" "+why)
			continue
		}
		fingerprints = append(fingerprints, k.fingerprint)
	}
	if len(fingerprints) == 0 {
		message := "keyring: " + r.keyring.path + " has no key that can be trusted"
		if len(unusable) > 0 {
			message += ": " + strings.Join(unusable, ", ")
		}
		return nil, &sdk.Failure{
			Code: sdk.CodeVerification, Message: message,
			Hint: "ask those who sign the packages for their present key, and check the clock of this host",
		}
	}
	for _, why := range unusable {
		r.report.Warning("keyring: "+why, "what is signed with it is refused")
	}
	return fingerprints, nil
}

// key is a primary key as gpg lists it.
type key struct {
	fingerprint string
	validity    string // one letter, see parseKeys
	expires     time.Time
}

// unusable says why a key cannot be trusted, as the rest of a sentence.
func (k key) unusable(now time.Time) string {
	switch {
	case k.validity == "r":
		return "is revoked"
	case k.validity == "e", !k.expires.IsZero() && !now.Before(k.expires):
		return "has expired"
	case k.validity == "i", k.validity == "d":
		return "is invalid"
	}
	return ""
}

// parseKeys reads the format of gpg --with-colons: one record a line, whose
// fields are its type, the validity (f: fully valid, u: ultimately, e: expired,
// r: revoked, i: invalid, ...), and so on; the seventh is when it expires, in
// seconds since 1970. The fpr record after a pub record has the fingerprint in
// its tenth field.
func parseKeys(lines []string) []key {
	var keys []key
	open := false
	for _, line := range lines {
		fields := strings.Split(line, ":")
		switch {
		case fields[0] == "pub" && len(fields) >= 7:
			k := key{validity: fields[1]}
			if seconds, err := time.ParseDuration(fields[6] + "s"); err == nil && seconds > 0 {
				k.expires = time.Unix(int64(seconds.Seconds()), 0)
			}
			keys, open = append(keys, k), true
		case fields[0] == "fpr" && open && len(fields) >= 10 && fingerprintForm(fields[9]):
			keys[len(keys)-1].fingerprint, open = fields[9], false
		case fields[0] == "sub":
			open = false
		}
	}
	return slices.DeleteFunc(keys, func(k key) bool { return k.fingerprint == "" })
}

func fingerprintForm(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789ABCDEF") == ""
}

// prepareKeyring makes GPGDir, out of the cache if it was made before.
func (r *run) prepareKeyring(ctx context.Context, fingerprints []string) error {
	digest, err := r.keyringDigest(ctx)
	if err != nil {
		return err
	}
	var cache *keyringCache
	if r.cache != "" {
		cache = &keyringCache{filepath.Join(r.cache, "keyring")}
		if cache.restore(digest, r.gpgDir()) == nil {
			return nil
		}
		// What could not be used is not to be mixed with what is made now.
		if err := os.RemoveAll(r.gpgDir()); err != nil {
			return err
		}
	}
	if err := r.tools(ctx, r.trust(r.gpgDir(), fingerprints)); err != nil {
		return err
	}
	if err := r.forbidLookups(); err != nil {
		return err
	}
	lines, err := r.output(ctx, listTrust(r.gpgDir()))
	if err != nil {
		return err
	}
	if !trustsAny(parseKeys(lines)) {
		return &sdk.Failure{
			Code:    sdk.CodeVerification,
			Message: "no key of " + r.keyring.path + " can be trusted any more",
			Hint:    "update the keyring package of this host, and check its clock",
		}
	}
	if cache != nil {
		if err := cache.keep(digest, r.gpgDir()); err != nil {
			r.report.Warning(err.Error(), "the keyring is prepared again next time")
		}
	}
	return nil
}

// forbidLookups keeps pacman from asking key servers and the mail domains of
// packagers for keys that it does not have: it does so where nobody can be asked
// whether it should, and could not trust what it gets anyway.
func (r *run) forbidLookups() error {
	f, err := os.OpenFile(filepath.Join(r.gpgDir(), "gpg.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	_, err = f.WriteString("disable-dirmngr\nno-auto-key-locate\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	return nil
}

// trustsAny reports whether a key is fully valid: signed by the keyring's own,
// which is the one that is ultimately valid.
func trustsAny(keys []key) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return k.validity == "f" })
}

// keyringDigest is over everything that a prepared keyring comes from.
func (r *run) keyringDigest(ctx context.Context) (string, error) {
	sum := sha256.New()
	add := func(name string, content []byte) { fmt.Fprintf(sum, "%s %d\n%s\n", name, len(content), content) }
	add("of the user", fmt.Append(nil, r.keyring.own))
	add("name", []byte(r.keyring.name))
	for _, file := range r.keyring.files() {
		content, err := r.host.readOptional(file)
		if err != nil {
			return "", fmt.Errorf("keyring: %w", err)
		}
		add(filepath.Ext(file), content)
	}
	for _, argv := range [][]string{{"pacman-key", "--version"}, {"gpg", "--version"}} {
		lines, err := r.output(ctx, argv)
		if err != nil {
			return "", err
		}
		add(argv[0], []byte(strings.Join(lines, "\n")))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// ensureTrust makes sure that the machine can verify packages itself: the
// keyring package's script makes it trust its distribution's keys.
func (r *run) ensureTrust(ctx context.Context) error {
	r.report.Phase(phaseTrust)
	trusted, err := r.machineTrusts(ctx)
	if err != nil || trusted {
		return err
	}
	if err := r.tool(ctx, r.populateInside(), nil); err != nil {
		return err
	}
	if trusted, err = r.machineTrusts(ctx); err != nil || trusted {
		return err
	}
	r.report.Warning("the machine trusts no key that signs packages",
		"to install packages in it, run pacman-key --populate in it")
	return nil
}

// machineTrusts looks at a copy of the machine's keyring.
func (r *run) machineTrusts(ctx context.Context) (bool, error) {
	directory := filepath.Join(r.scratch, "look")
	if err := os.RemoveAll(directory); err != nil {
		return false, err
	}
	if err := os.Mkdir(directory, 0o700); err != nil {
		return false, err
	}
	for _, name := range []string{"pubring.gpg", "trustdb.gpg"} {
		content, err := r.tree.readFile(machineKeyring+"/"+name, maxKeyringFile)
		if err != nil {
			return false, fmt.Errorf("the machine's keyring: %w", err)
		}
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			return false, err
		}
	}
	lines, err := r.output(ctx, listTrust(directory))
	if err != nil {
		return false, err
	}
	return trustsAny(parseKeys(lines)), nil
}
