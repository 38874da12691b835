package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// access is how one is to log in to a new machine.
type access struct {
	kind        spec.PasswordKind
	secret      spec.Secret
	keys        []string // from --ssh-key
	invokerKeys []string // of the invoking user, when nothing else was said
}

func accessFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "password-file", Usage: "set root's password to the first line of `FILE`", EnvVars: env("password-file")},
		&cli.BoolFlag{Name: "password-stdin", Usage: "read root's password from standard input"},
		&cli.StringFlag{Name: "password-hash", Usage: "set root's password by its crypt(3) `HASH`"},
		&cli.BoolFlag{Name: "generate-password", Usage: "make up a password for root and print it once"},
		&cli.StringSliceFlag{Name: "ssh-key", Usage: "let in the public keys of `FILE`; may be repeated (default: yours)", EnvVars: env("ssh-key")},
	}
}

const secretLimit = 4096

// givenAccess reads the password and the keys that the flags name, and tells all
// that is wrong with them.
func (a *app) givenAccess(ctx *cli.Context) (got access, err error) {
	var keys error
	got.kind, got.secret, err = a.password(ctx)
	got.keys, keys = keysOf(ctx.StringSlice("ssh-key"))
	return got, several(err, keys)
}

// accessFaults are what is wrong with them where something else is wrong too:
// then nothing is read from a terminal.
func (a *app) accessFaults(ctx *cli.Context) error {
	if ctx.Bool("password-stdin") {
		_, err := keysOf(ctx.StringSlice("ssh-key"))
		return err
	}
	_, err := a.givenAccess(ctx)
	return err
}

// readAccess reads how one is to log in. What else is wrong with the line, as
// refused tells, is told beside it, and before a password is asked for.
func (a *app) readAccess(ctx *cli.Context, resume bool, refused func() error) (access, error) {
	got, err := a.givenAccess(ctx)
	if err != nil {
		return got, several(err, refused())
	}
	if resume || got.kind != spec.PasswordLocked || len(got.keys) > 0 {
		return got, nil
	}
	if got.invokerKeys, err = invokerKeys(); err != nil || len(got.invokerKeys) > 0 {
		return got, err
	}
	got.secret, err = a.askPassword(refused)
	got.kind = spec.PasswordGiven
	return got, err
}

// refusal is what the distribution's plugin has against a spec; nil where it
// cannot be asked, which is told when that matters.
func (a *app) refusal(ctx *cli.Context, s spec.Spec) error {
	house, err := a.house()
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	house.Tell = func(pipeline.Event) {}
	if _, err = house.Ask(ctx.Context, s, machines.Beyond{}); judge(ctx.Context, err).code != exitUsage {
		return nil
	}
	return err
}

// keysOf reads the files of public keys.
func keysOf(files []string) ([]string, error) {
	var all []string
	var bad spec.Invalid
	for _, path := range files {
		keys, err := readKeys(path)
		if err != nil {
			bad = append(bad, &spec.FieldError{Field: "ssh-key", Value: path, Problem: err.Error(), Hint: "name a file of public keys such as ~/.ssh/id_ed25519.pub"})
		}
		all = append(all, keys...)
	}
	if bad != nil {
		return nil, bad
	}
	return all, nil
}

// generated is a password that nobody has had before.
func generated() spec.Secret { return spec.NewSecret(rand.Text()) }

func (a *app) password(ctx *cli.Context) (spec.PasswordKind, spec.Secret, error) {
	var given []string
	for _, f := range passwordFlags {
		if ctx.IsSet(f) && (ctx.String(f) != "" || ctx.Bool(f)) {
			given = append(given, "--"+f)
		}
	}
	if len(given) > 1 {
		return "", spec.Secret{}, &usageError{strings.Join(given, " and ") + " were both given", "give one of them"}
	}
	if len(given) == 0 {
		return spec.PasswordLocked, spec.Secret{}, nil
	}
	switch given[0] {
	case "--password-hash":
		hash := ctx.String("password-hash")
		if e := spec.ParseHash(hash); e != nil {
			return "", spec.Secret{}, spec.Invalid{e}
		}
		return spec.PasswordHash, spec.NewSecret(hash), nil
	case "--generate-password":
		return spec.PasswordGenerated, generated(), nil
	case "--password-stdin":
		s, err := readSecret("password-stdin", "-", a.in)
		return spec.PasswordGiven, s, err
	}
	s, err := passwordFile("password-file", ctx.String("password-file"))
	return spec.PasswordGiven, s, err
}

// passwordFile reads a password from a file.
func passwordFile(field, path string) (spec.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return spec.Secret{}, spec.Invalid{{Field: field, Value: path, Problem: "cannot be read: " + reason(err), Hint: "name a file that holds the password in its first line"}}
	}
	s, err := readSecret(field, path, f)
	return s, errors.Join(err, f.Close())
}

// readSecret reads one line. The error says nothing of what was read.
func readSecret(field, value string, r io.Reader) (spec.Secret, error) {
	bad := func(problem string) (spec.Secret, error) {
		return spec.Secret{}, spec.Invalid{{Field: field, Value: value, Problem: problem, Hint: "give one line of text"}}
	}
	data, err := io.ReadAll(io.LimitReader(r, secretLimit+1))
	data, rest, _ := bytes.Cut(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	switch {
	case err != nil:
		return bad("cannot be read: " + reason(err))
	case len(data) == 0:
		return bad("holds no password")
	case len(data)+len(rest) > secretLimit:
		return bad(fmt.Sprintf("holds more than %d bytes", secretLimit))
	case bytes.IndexByte(data, 0) >= 0:
		return bad("holds a NUL byte")
	}
	return spec.NewSecret(string(data)), nil
}

// askPassword asks for a password twice on the terminal, or refuses where there
// is none; and where else something is refused, that is told first.
func (a *app) askPassword(refused func() error) (spec.Secret, error) {
	fd, is := terminal(a.in)
	if !is {
		return spec.Secret{}, several(&usageError{
			"nobody could log in to the machine: there is no password and you have no SSH keys",
			"give --ssh-key FILE, --password-stdin, --password-file FILE or --generate-password",
		}, refused())
	}
	if err := refused(); err != nil {
		return spec.Secret{}, err
	}
	a.progress.close()
	fmt.Fprint(a.err, "You have no SSH keys. Password for root in the machine: ")
	first, err := term.ReadPassword(fd)
	fmt.Fprintln(a.err)
	if err != nil {
		return spec.Secret{}, err
	}
	fmt.Fprint(a.err, "Once more: ")
	second, err := term.ReadPassword(fd)
	fmt.Fprintln(a.err)
	if err != nil {
		return spec.Secret{}, err
	}
	if !bytes.Equal(first, second) {
		return spec.Secret{}, &usageError{"the two passwords differ", "try again"}
	}
	return readSecret("password", "-", bytes.NewReader(first))
}

// readKeys reads the lines of a file of public keys.
func readKeys(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.New("cannot be read: " + reason(err))
	}
	if !info.Mode().IsRegular() || info.Size() > 1<<20 {
		return nil, errors.New("is not a file of public keys")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.New("cannot be read: " + reason(err))
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, errors.New("is a private key; the public one is beside it, with .pub")
	}
	var keys []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// What is in a file that holds no keys is nobody's business.
		key, e := spec.ParseKey("ssh-key", line)
		if e != nil {
			return nil, errors.New("holds something that is not an SSH public key")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("holds no key")
	}
	return keys, nil
}

// reason is what went wrong without the path, which the message has already.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// invoker is the user who called: the one behind sudo where there is one.
func invoker() (*user.User, error) {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return user.Lookup(name)
	}
	return user.Current()
}

// invokerKeys are the public keys in the invoking user's ~/.ssh.
func invokerKeys() ([]string, error) {
	u, err := invoker()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(u.HomeDir, ".ssh", "*.pub"))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range files {
		keys, err := readKeys(f)
		if err != nil {
			continue // something else by that name
		}
		for _, k := range keys {
			if line, e := spec.ParseKey("ssh-key", k); e == nil && !slices.Contains(all, line) {
				all = append(all, line)
			}
		}
	}
	return all, nil
}

// privateKeys are the invoking user's private keys that have a public one
// beside them, for ssh.
func privateKeys() []string {
	u, err := invoker()
	if err != nil {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(u.HomeDir, ".ssh", "*.pub"))
	if err != nil {
		return nil
	}
	var keys []string
	for _, f := range files {
		private := strings.TrimSuffix(f, ".pub")
		if info, err := os.Stat(private); err == nil && info.Mode().IsRegular() {
			keys = append(keys, private)
		}
	}
	return keys
}
