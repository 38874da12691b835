package testrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// What a repository's directory in the cache has beside the repository. The
// secret key protects nothing: it is made for the one repository, and nothing
// but tests is told to trust it.
const (
	publicKey       = "key.asc"
	secretKey       = "secret.asc"
	fingerprintFile = "fingerprint"
	mirrorTree      = "mirror"
)

// Everything is made in a past that gpg is told to be in, so that a key can
// have expired since: made at the one, and signing at the other.
const (
	keyTime  = "20250101T000000!"
	signTime = "20250102T000000!"
	expiry   = "2025-02-01"
)

// signer signs with one secret key, by a GnuPG of its own.
type signer struct {
	home        string
	fingerprint string
	end         func()
}

// newSigner makes a GnuPG home in dir, which must be a short path, and starts
// its agent. The agent dies with this process or with close.
func newSigner(ctx context.Context, dir, now string) (*signer, error) {
	s := &signer{home: filepath.Join(dir, "gpg"), end: func() {}}
	const longest = 107 // of a socket's path, in bytes: unix(7)
	if socket := filepath.Join(s.home, "S.gpg-agent.browser"); len(socket) > longest {
		return nil, fmt.Errorf("gpg-agent's socket %s would have too long a path; hint: set NSPAWN_BUILD_TEST_CACHE to a short one", socket)
	}
	// Locks hold PIDs, which mean nothing from one PID namespace to another.
	config := "lock-never\nbatch\nno-tty\nno-autostart\npinentry-mode loopback\nfaked-system-time " + now + "\n"
	err := errors.Join(os.Mkdir(s.home, 0o700), os.WriteFile(filepath.Join(s.home, "gpg.conf"), []byte(config), 0o600))
	if err != nil {
		return nil, fmt.Errorf("make a home for gpg: %w", err)
	}
	if err := s.startAgent(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// startAgent starts the agent in a PID namespace, all of which ends with the
// first process in it: by itself an agent outlives everybody.
func (s *signer) startAgent(ctx context.Context) error {
	const command = `gpg-agent --homedir "$0" --quiet --daemon --faked-system-time "$1" >/dev/null && echo ready && exec sleep infinity`
	agent := exec.CommandContext(ctx, "sh", "-c", command, s.home, signTime)
	agent.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := agent.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start gpg-agent: %w", err)
	}
	ready, ended := make(chan error, 1), make(chan struct{})
	go func() {
		_ = onOwnThread(func() error { // which lives as long as the agent
			defer close(ended)
			if err := agent.Start(); err != nil {
				ready <- err
				return nil
			}
			s.end = func() {
				_ = agent.Process.Kill() // already gone is as good
				<-ended
			}
			_, err := io.ReadFull(out, make([]byte, len("ready")))
			ready <- err
			_ = agent.Wait() // it ends by being killed
			return nil
		})
	}()
	if err := <-ready; err != nil {
		return fmt.Errorf("start gpg-agent: %w", err)
	}
	return nil
}

// close ends the agent and removes the home, and the directory of its sockets
// where that is elsewhere: below /run/user, if there is one.
func (s *signer) close() {
	s.end()
	_ = exec.Command("gpgconf", "--homedir", s.home, "--remove-socketdir").Run() // there may be none
	_ = os.RemoveAll(s.home)                                                     // what stays goes with the directory that it is in
}

func (s *signer) env() []string { return []string{"GNUPGHOME=" + s.home} }

func (s *signer) gpg(ctx context.Context, args ...string) (string, error) {
	return tool{env: s.env()}.run(ctx, "gpg", args...)
}

// makeKey makes a key without a passphrase that never expires, and leaves both
// halves in dir. RSA is what every version of RPM's own parser knows.
func makeKey(ctx context.Context, dir, owner string) error {
	s, err := newSigner(ctx, dir, keyTime)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.gpg(ctx, "--passphrase", "", "--quick-generate-key", owner, "rsa3072", "sign", "never"); err != nil {
		return err
	}
	if _, err := s.gpg(ctx, "--armor", "--output", filepath.Join(dir, publicKey), "--export"); err != nil {
		return err
	}
	if _, err = s.gpg(ctx, "--armor", "--output", filepath.Join(dir, secretKey), "--export-secret-keys"); err != nil {
		return err
	}
	fpr, err := s.readFingerprint(ctx)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fingerprintFile), []byte(fpr+"\n"), 0o644)
}

// openSigner takes up the key that makeKey left in keys, with a home in dir.
func openSigner(ctx context.Context, keys, dir string) (*signer, error) {
	s, err := newSigner(ctx, dir, signTime)
	if err != nil {
		return nil, err
	}
	if _, err = s.gpg(ctx, "--import", filepath.Join(keys, secretKey)); err == nil {
		s.fingerprint, err = s.readFingerprint(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *signer) readFingerprint(ctx context.Context) (string, error) {
	out, err := s.gpg(ctx, "--with-colons", "--list-secret-keys")
	if err != nil {
		return "", err
	}
	return fingerprint(out)
}

// fingerprint is the first one in a listing by gpg --with-colons.
func fingerprint(listing string) (string, error) {
	for line := range strings.Lines(listing) {
		if f := strings.Split(strings.TrimSpace(line), ":"); f[0] == "fpr" && len(f) > 9 {
			return f[9], nil
		}
	}
	return "", errors.New("gpg lists no key")
}

// detach writes file.sig, or with armor file.asc, in place of what is there.
func (s *signer) detach(ctx context.Context, file string, armor bool) error {
	signature, form := file+".sig", "--no-armor"
	if armor {
		signature, form = file+".asc", "--armor"
	}
	if err := removeIfThere(signature); err != nil {
		return err
	}
	_, err := s.gpg(ctx, form, "--output", signature, "--detach-sign", file)
	return err
}

// exportExpired writes the public key as it is once its owner has set it to
// expire a month after everything was signed.
func (s *signer) exportExpired(ctx context.Context, file string) error {
	if _, err := s.gpg(ctx, "--quick-set-expire", s.fingerprint, expiry); err != nil {
		return err
	}
	_, err := s.gpg(ctx, "--armor", "--output", file, "--export")
	return err
}
