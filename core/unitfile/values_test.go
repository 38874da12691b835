package unitfile

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// options is what systemd would read in data.
func options(t *testing.T, data []byte) []string {
	t.Helper()
	read, err := unit.DeserializeOptions(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("systemd could not read it: %v\n%s", err, data)
	}
	var got []string
	for _, o := range read {
		got = append(got, o.Section+"."+o.Name+"="+o.Value)
	}
	return got
}

func TestValuesThatCannotStandInAFileAreRefused(t *testing.T) {
	good := SSHD{PermitRootLogin: RootLoginYes}
	hostKeys := func(paths ...string) func() ([]byte, error) {
		d := good
		d.HostKeys = paths
		return d.Render
	}
	bind := func(b Bind) func() ([]byte, error) { return Nspawn{Machine: "web", Binds: []Bind{b}}.Render }
	host := HostNetwork{Machine: "web", Link: "ve-web", Address: prefix("10.0.0.1/24")}
	refused := map[string]func() ([]byte, error){
		"no machine's link":        HostNetwork{Machine: "web", Link: "", Address: host.Address}.Render,
		"a link that is a pattern": HostNetwork{Machine: "web", Link: "ve-*", Address: host.Address}.Render,
		"a link of two lines":      HostNetwork{Machine: "web", Link: "ve\n[x]", Address: host.Address}.Render,
		"a link that is negated":   HostNetwork{Machine: "web", Link: "!ve-web", Address: host.Address}.Render,
		"no address":               HostNetwork{Machine: "web", Link: "ve-web"}.Render,
		"IPv6 on the link":         HostNetwork{Machine: "web", Link: "ve-web", Address: prefix("fd00::1/64")}.Render,
		"a machine of two lines":   HostNetwork{Machine: "web\n[Match]", Link: "ve-web", Address: host.Address}.Render,
		"a machine that is a path": Nspawn{Machine: "../web"}.Render,
		"a program with a space":   LinkService{Machine: "web", Program: "/opt/a b", Verb: "hostlink"}.Render,
		"a program of a specifier": LinkService{Machine: "web", Program: "/opt/%n", Verb: "hostlink"}.Render,
		"a program that is near":   LinkService{Machine: "web", Program: "bin/nspawn-build", Verb: "hostlink"}.Render,
		"a verb of two words":      LinkService{Machine: "web", Program: "/bin/x", Verb: "a b"}.Render,
		"the link of a path":       LinkDropIn{Machine: "../web"}.Render,
		"a scheme with a newline":  LinkDropIn{"web", "v1\nUser=x"}.Render,
		"limits of no machine %i":  LimitsDropIn{Machine: "%i"}.Render,
		"no address inside":        MachineNetwork{Gateway: addr("10.0.0.1")}.Render,
		"no gateway":               MachineNetwork{Address: prefix("10.0.0.2/24")}.Render,
		"a server that is nothing": MachineNetwork{prefix("10.0.0.2/24"), addr("10.0.0.1"), []netip.Addr{{}}}.Render,
		"a server with a zone":     MachineNetwork{prefix("10.0.0.2/24"), addr("10.0.0.1"), []netip.Addr{addr("fe80::1%eth0")}}.Render,
		"a bind with a newline":    bind(Bind{Source: "/a\nBind=/etc"}),
		"a bind with NUL":          bind(Bind{Source: "/a", Target: "/b\x00"}),
		"a bind to below":          bind(Bind{Source: "/a", Target: "/b/../../etc"}),
		"a bind of nothing":        bind(Bind{}),
		"a bind from the tree":     bind(Bind{Source: "+/etc"}),
		"a relative bind":          bind(Bind{Source: "a"}),
		"a bind ending in \\":      bind(Bind{Source: "/a", Target: `/b\`}),
		"a bind ending in space":   bind(Bind{Source: "/a", Target: "/b "}),
		"a bind that is not UTF-8": bind(Bind{Source: "/a\xff"}),
		"a mapping of no kind":     bind(Bind{Source: "/a", IDMap: "rbind"}),
		"a capability of two":      Nspawn{Machine: "web", DropCapabilities: []string{"CAP_KILL\nCapability=all"}}.Render,
		"a capability by number":   Nspawn{Machine: "web", DropCapabilities: []string{"7"}}.Render,
		"a capability too many":    Nspawn{Machine: "web", Capabilities: []string{"CAP_KILL CAP_SYS_TIME"}}.Render,
		"a system call of two":     Nspawn{Machine: "web", SystemCallFilter: []string{"~a\nCapability=all"}}.Render,
		"sockets of no kind":       Nspawn{Machine: "web", AddressFamilies: []string{"AF_INET AF_PACKET"}}.Render,
		"users of no kind":         Nspawn{Machine: "web", PrivateUsers: "0:65536"}.Render,
		"a relative source":        BindsDropIn{"web", []string{"srv"}}.Render,
		"a source of two lines":    BindsDropIn{"web", []string{"/srv\n[Service]"}}.Render,
		"a weight past the last":   LimitsDropIn{Machine: "web", Limits: spec.Limits{IOWeight: 10001}}.Render,
		"an infinite weight":       LimitsDropIn{Machine: "web", Limits: spec.Limits{IOWeight: spec.Infinity}}.Render,
		"a bandwidth of no disk":   LimitsDropIn{Machine: "web", Limits: spec.Limits{IOBandwidth: 1 << 20}}.Render,
		"a bandwidth of two lines": LimitsDropIn{Machine: "web", Tree: "/a\nMemoryMax=1", Limits: spec.Limits{IOBandwidth: 1 << 20}}.Render,
		"a host key of two lines":  hostKeys("/k\nPermitEmptyPasswords yes"),
		"a host key with a token":  hostKeys("/etc/%u"),
		"a relative host key":      hostKeys("key"),
		"a login of no kind":       SSHD{PermitRootLogin: "maybe"}.Render,
		"a preset for all":         func() ([]byte, error) { return Preset([]string{"*"}) },
		"a preset of two lines":    func() ([]byte, error) { return Preset([]string{"a.service\nenable *"}) },
		"an ssh host with a space": func() ([]byte, error) { return SSHConfig([]SSHHost{{Name: "a b", Address: addr("10.0.0.2")}}) },
		"an ssh host of all":       func() ([]byte, error) { return SSHConfig([]SSHHost{{Name: "*", Address: addr("10.0.0.2")}}) },
		"an ssh host nowhere":      func() ([]byte, error) { return SSHConfig([]SSHHost{{Name: "web"}}) },
		"a known host of no name":  func() ([]byte, error) { return KnownHosts([]KnownHost{{"", addr("10.0.0.2"), nil}}) },
		"a known host of two lines": func() ([]byte, error) {
			return KnownHosts([]KnownHost{{"web", addr("10.0.0.2"), []string{hostKey + "\n@cert-authority * " + hostKey}}})
		},
		"a known host with options": func() ([]byte, error) {
			return KnownHosts([]KnownHost{{"web", addr("10.0.0.2"), []string{"no-pty " + hostKey}}})
		},
		"a known host of no key": func() ([]byte, error) { return KnownHosts([]KnownHost{{"web", addr("10.0.0.2"), []string{"rubbish"}}}) },
	}
	for name, render := range refused {
		t.Run(name, func(t *testing.T) {
			data, err := render()
			if err == nil {
				t.Fatalf("rendered:\n%s", data)
			}
			var v *ValueError
			var f *spec.FieldError
			if !errors.As(err, &v) && !errors.As(err, &f) {
				t.Errorf("%v does not name the value", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%q is more than one line", err)
			}
		})
	}
}

// What is supplied ends up in the directive that it was meant for, whole, and
// in no other.
func FuzzNoValueInjectsADirective(f *testing.F) {
	for _, seed := range [][2]string{
		{"/srv", "/data"},
		{"/a\nBind=/etc", "/b"},
		{`/a\`, "/b"},
		{"/a:b", "/c:ro"},
		{"/a\r[Exec]", "/b"},
		{"/100%", "/%i"},
		{"/a ;x", "/#b"},
		{"/ü", "/\u2028"},
		{`/a\` + "\n", "/"},
		{"/[Exec]", "/]"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, source, target string) {
		if len(source)+len(target) > 500 {
			t.Skip("longer than go-systemd takes a line to be")
		}
		data, err := Nspawn{Machine: "web", Binds: []Bind{{Source: source, Target: target}}}.Render()
		if err != nil {
			return
		}
		if target == "" {
			target = source
		}
		plain, err := Nspawn{Machine: "web"}.Render()
		if err != nil {
			t.Fatal(err)
		}
		got, want := options(t, data), options(t, plain)
		if len(got) != len(want)+1 {
			t.Fatalf("%q and %q became\n%s", source, target, data)
		}
		var bind string
		for i := range got {
			if i < len(want) && got[i] == want[i] {
				continue
			}
			bind = strings.TrimPrefix(got[i], "Files.Bind=")
			break
		}
		bind, options := strings.CutSuffix(bind, ":norbind")
		if from, to := split(bind); !options || from != source || to != target {
			t.Fatalf("%q and %q are read as %q and %q", source, target, from, to)
		}
	})
}

// split reads the value of Bind= as systemd-nspawn(1) says.
func split(value string) (source, target string) {
	parts := []string{""}
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && i+1 < len(value):
			i++
			parts[len(parts)-1] += value[i : i+1]
		case value[i] == ':':
			parts = append(parts, "")
		default:
			parts[len(parts)-1] += value[i : i+1]
		}
	}
	if len(parts) != 2 {
		return value, ""
	}
	return parts[0], parts[1]
}
