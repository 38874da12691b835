package misbehave

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// The exit statuses of create.
const (
	exitUsage     = 2
	exitHost      = 3
	exitBootstrap = 4
)

const (
	start     = "handshake-start"
	describes = "describe-answers"
)

// handshakes are modes that never come to answer a call.
var handshakes = []Mode{
	{Name: "panic-early", Breaks: []string{start}, Exit: exitBootstrap, Says: "died (exit status 2)", early: func() { panic("too early") }},
	{
		Name: "exit-early", Breaks: []string{start}, Exit: exitBootstrap, Says: "died (exit status 3)",
		early: func() { fmt.Fprintln(os.Stderr, "no keyring"); os.Exit(3) },
	},
	{Name: "hang-early", Breaks: []string{start}, Exit: exitBootstrap, Says: "did not answer within", early: hang},
	{
		Name: "stop-early", Breaks: []string{start}, Exit: exitBootstrap, Says: "did not answer within",
		early: func() { stopSelf(); hang() },
	},
	{
		Name: "garbage", Breaks: []string{sdk.RuleHandshakeLine}, Exit: exitBootstrap, Says: "the first line that a plugin prints is its handshake",
		early: func() { fmt.Println("\x1b[31mhello\x1b[0m"); hang() },
	},
	{
		Name: "long-line", Breaks: []string{sdk.RuleHandshakeLine}, Exit: exitBootstrap, Says: "the first line that a plugin prints is its handshake",
		early: func() { fmt.Println(strings.Repeat("x", 70_000)) },
	},
	{
		Name: "foreign-socket", Breaks: []string{sdk.RuleHandshakeSocket}, Exit: exitBootstrap, Says: "is not in the directory that it was given",
		early: func() { printHandshake("1|1|unix|/run/foreign.sock|grpc|"); hang() },
	},
	{
		Name: "dotdot-socket", Breaks: []string{sdk.RuleHandshakeSocket}, Exit: exitBootstrap, Says: "is not in the directory that it was given",
		early: func() { printHandshake("1|1|unix|" + socketDir() + "/../foreign.sock|grpc|"); hang() },
	},
	{
		Name: "link-socket", Breaks: []string{sdk.RuleHandshakeSocket}, Exit: exitBootstrap, Says: "is no socket",
		early: linkSocket,
	},
	{
		Name: "tcp-socket", Breaks: []string{sdk.RuleHandshakeSocket}, Exit: exitBootstrap, Says: "is not in the directory that it was given",
		early: func() { printHandshake("1|1|tcp|127.0.0.1:22|grpc|"); hang() },
	},
	{
		Name: "plain", Breaks: []string{sdk.RuleHandshakeTLS}, Exit: exitBootstrap, Says: "PLUGIN_CLIENT_CERT",
		early: func() { fmt.Println("1|1|unix|" + socketDir() + "/s|grpc"); hang() },
	},
	{
		// It is called nothing that a host could connect to.
		Name: "nameless-cert", Breaks: []string{sdk.RuleHandshakeTLS}, Exit: exitBootstrap, Says: "certificate",
		early: serveNameless,
	},
	{
		// What does not belong together is a matter of the host's.
		Name: "version-two", Breaks: []string{sdk.RuleHandshakeVersion}, Exit: exitHost, Says: "speaks version 2 of the protocol",
		early: func() { printHandshake("1|2|unix|" + socketDir() + "/s|grpc|"); hang() },
	},
	{
		Name: "hang-socket", Breaks: []string{start}, Exit: exitBootstrap, Says: "did not answer within",
		early: hangAfterHandshake,
	},
}

func socketDir() string { return os.Getenv("PLUGIN_UNIX_SOCKET_DIR") }

func stopSelf() { _ = unix.Kill(os.Getpid(), unix.SIGSTOP) }

// hang never returns. A select without cases would be found out by the runtime
// of a program without cgo, and end as a deadlock.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// printHandshake prints a line that is well-formed, certificate and all.
func printHandshake(line string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	fmt.Println(line + base64.RawStdEncoding.EncodeToString(certificate))
}

// serveNameless serves with a certificate that is for no name.
func serveNameless() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	path := socketDir() + "/s"
	listener, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	fmt.Println("1|1|unix|" + path + "|grpc|" + base64.RawStdEncoding.EncodeToString(certificate))
	_ = grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
		ClientAuth:   tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12,
	}))).Serve(listener)
}

// hangAfterHandshake listens and never answers.
func hangAfterHandshake() {
	path := socketDir() + "/s"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		panic(err)
	}
	printHandshake("1|1|unix|" + path + "|grpc|")
	hang()
}

// linkSocket gives an address that is a link to another place.
func linkSocket() {
	path := socketDir() + "/s"
	if err := os.Symlink("/run/foreign.sock", path); err != nil {
		panic(err)
	}
	printHandshake("1|1|unix|" + path + "|grpc|")
	hang()
}
