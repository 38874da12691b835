package pluginhost

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// handshake is what the first line that a plugin prints must say:
//
//	1|1|unix|/run/nspawn-build/plugin-…/…|grpc|CERTIFICATE
//
// These are the versions of go-plugin's own protocol and of ours, the address
// of its socket, the kind of RPC and the certificate of its TLS (go-plugin,
// docs/internals.md).
type handshake struct {
	plugin string
	dir    string // that its socket must be in
}

// VersionError means that a plugin and this program speak different protocols.
type VersionError struct {
	Plugin string
	Speaks string
}

// Error says who speaks what.
func (e *VersionError) Error() string {
	return fmt.Sprintf("the %s plugin speaks version %s of the protocol, and this nspawn-build speaks version %d",
		e.Plugin, e.Speaks, sdk.ProtocolMajor)
}

// Hint says what to install.
func (e *VersionError) Hint() string {
	return "install versions of nspawn-build and of the plugin that belong together"
}

// check returns the address that the line gives, or what is wrong with it.
func (h handshake) check(line string) (address string, err error) {
	broken := func(id, format string, args ...any) (string, error) {
		return "", &sdk.ProtocolError{
			ID:     id,
			Rule:   "the first line that a plugin prints is its handshake",
			Detail: "the " + h.plugin + " plugin: " + sdk.Clean(fmt.Sprintf(format, args...), 512),
		}
	}
	fields := strings.Split(strings.TrimSpace(line), "|")
	if !strings.HasSuffix(line, "\n") || len(fields) < 5 || !number(fields[0]) || !number(fields[1]) {
		return broken(sdk.RuleHandshakeLine, "it printed %q", sdk.Clean(line, 200))
	}
	if fields[0] != strconv.Itoa(goplugin.CoreProtocolVersion) {
		return broken(sdk.RuleHandshakeLine, "version %s of go-plugin's protocol, and not %d", fields[0], goplugin.CoreProtocolVersion)
	}
	if fields[1] != strconv.Itoa(sdk.ProtocolMajor) {
		return "", &VersionError{Plugin: h.plugin, Speaks: fields[1]}
	}
	network, address := fields[2], fields[3]
	if network != "unix" || filepath.Clean(address) != address || filepath.Dir(address) != h.dir {
		return broken(sdk.RuleHandshakeSocket, "its socket %s %s is not in the directory that it was given", network, address)
	}
	if fields[4] != string(goplugin.ProtocolGRPC) {
		return broken(sdk.RuleHandshakeLine, "it speaks %s and not grpc", fields[4])
	}
	if len(fields) < 6 || len(fields[5]) < 50 {
		return broken(sdk.RuleHandshakeTLS, "it does not use the TLS that it was offered (PLUGIN_CLIENT_CERT)")
	}
	der, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err == nil {
		_, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return broken(sdk.RuleHandshakeTLS, "its certificate is no DER in base64 without padding: %v", err)
	}
	return address, nil
}

func number(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// dial connects to the socket at address, and to nothing that its name may be a
// link to. go-plugin's own dialer would follow one.
func dial(ctx context.Context, address string) (net.Conn, error) {
	fd, err := unix.Open(address, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("the plugin's socket: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, &sdk.ProtocolError{ID: sdk.RuleHandshakeSocket, Rule: "a plugin listens on a socket of its own", Detail: address + " is no socket"}
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
}
