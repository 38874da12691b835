package main

import (
	"maps"
	"testing"
)

func TestTheProxiesOfAptAreRead(t *testing.T) {
	got := map[string]string{}
	for _, line := range []string{
		`Acquire "";`, `Acquire::http::Proxy "http://proxy.example.org:3128/";`, `Acquire::HTTP::Proxy::mirror.example.org "DIRECT";`,
		`Acquire::https::Verify-Peer "true";`, `Acquire::https::Proxy "http://proxy.example.org:3129";`, `Acquire::ftp::Proxy "x";`, `APT::Proxy "y";`,
	} {
		proxySetting(got, line)
	}
	want := map[string]string{
		"http": "http://proxy.example.org:3128/", "http::mirror.example.org": "DIRECT", "https": "http://proxy.example.org:3129",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
