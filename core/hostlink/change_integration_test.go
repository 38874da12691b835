//go:build integration

package hostlink

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestAnotherLinkIsHeldWholeOrNotAtAll(t *testing.T) {
	w := newWorld(t)
	l := withEgress(spec.EgressAny)
	l.Publish = []spec.Publish{{Protocol: "tcp", Host: 8080, Machine: 7000}}
	k := open(t, l)
	if err := Change(t.Context(), k.config, l); !errors.Is(err, ErrNotKept) {
		t.Errorf("before anybody keeps it: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() { defer close(kept); k.Keep(ctx) }()
	t.Cleanup(func() { cancel(); <-kept })
	until(t, func() string {
		if err := Change(t.Context(), k.config, l); err != nil {
			return err.Error()
		}
		return ""
	})
	reached := func(port string) bool {
		var err error
		w.lan.must(func() error { _, err = ask("tcp4", hostOnLAN+":"+port); return nil })
		return err == nil
	}
	rules := func() string {
		out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}

	taken, err := net.Listen("tcp4", "0.0.0.0:8081")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	before := rules()
	next := l
	next.Egress = spec.EgressNone
	next.Publish = []spec.Publish{{Protocol: "tcp", Host: 8082, Machine: 7000}, {Protocol: "tcp", Host: 8081, Machine: 7000}}
	if err := Change(t.Context(), k.config, next); err == nil || !strings.Contains(err.Error(), "8081") {
		t.Errorf("a port that somebody has: %v", err)
	}
	if after := rules(); after != before || !reached("8080") || reached("8082") {
		t.Errorf("half of it was done:\n%s", after)
	}

	next.Publish = next.Publish[:1]
	if err := Change(t.Context(), k.config, next); err != nil {
		t.Fatal(err)
	}
	if !reached("8082") || reached("8080") || !strings.Contains(rules(), "chain egress") {
		t.Errorf("it was not done:\n%s", rules())
	}
	other := next
	other.Interface = "ve-other"
	if err := Change(t.Context(), k.config, other); err == nil {
		t.Error("another link is taken for the same")
	}
}
